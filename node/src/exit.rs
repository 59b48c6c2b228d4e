//! How a command ends: an exit code a script can rely on, what went wrong, and what to try next.

use std::fmt;
use std::process::ExitCode;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request was refused or failed: 1.
    Refused,
    /// Usage or environment is broken: 2.
    Broken,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// The request was refused or failed.
    pub fn refused(error: impl Into<anyhow::Error>) -> Self {
        Self { code: Code::Refused, error: error.into(), hint: None }
    }

    /// Usage or environment is broken.
    pub fn broken(error: impl Into<anyhow::Error>) -> Self {
        Self { code: Code::Broken, error: error.into(), hint: None }
    }

    /// With what to try next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what to try next, if there is anything.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        match self.code {
            Code::Refused => ExitCode::from(1),
            Code::Broken => ExitCode::from(2),
        }
    }
}

/// An error nobody classified is a failed request.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::refused(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{:#}` joins the chain of causes with colons; some errors repeat their cause in their own words.
        let mut said = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if said.is_empty() {
                said = text;
            } else if !said.contains(&text) {
                said = format!("{said}: {text}");
            }
        }
        write!(f, "error: {said}")?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let inner = anyhow::anyhow!("no such file");
        let failure = Failure::broken(inner.context("cannot read x: no such file").context("cannot start"));
        assert_eq!(
            failure.hint("touch x").to_string(),
            "error: cannot start: cannot read x: no such file\nhint: touch x"
        );
    }
}
