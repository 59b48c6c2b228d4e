//! What a task needs and what an agent offers, with units, compared one-sidedly: being better than needed costs nothing.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of money in micro-units of the federation's currency: `1_000_000` is one unit. Never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The amount, at least zero.
    #[must_use]
    pub fn non_negative(self) -> Self {
        Self(self.0.max(0))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        let text = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let trimmed = text.trim_end_matches('0');
        f.write_str(trimmed.strip_suffix('.').unwrap_or(trimmed))
    }
}

/// A text that is no amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted an amount like 0.25 with at most six decimals, found {0:?}")]
pub struct InvalidMoney(String);

impl FromStr for Money {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMoney(text.chars().take(40).collect());
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
            return Err(invalid());
        }
        let whole: i64 = whole.parse().map_err(|_| invalid())?;
        let micros: i64 = format!("{part:0<6}").parse().map_err(|_| invalid())?;
        whole.checked_mul(1_000_000).and_then(|w| w.checked_add(micros)).map(Self).ok_or_else(invalid)
    }
}

/// What a task asks of an agent. An absent need is no need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Needs {
    /// Answer within this many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Generate at least this many tokens per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<u64>,
    /// Read at least this many tokens at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Have at least this many mebibytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

/// What an agent offers and what it charges. An absent figure is unknown, which meets no need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Offer {
    /// Price of one piece of work, whatever its size.
    pub price: Money,
    /// Price of a thousand tokens, read or written.
    pub price_per_1k_tokens: Money,
    /// Typical time to an answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Tokens generated per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<u64>,
    /// Tokens read at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Most tokens the agent will spend on one piece of work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<u64>,
    /// Memory at its disposal, in mebibytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Energy of one piece of work, in joules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_joules: Option<u64>,
    /// Pieces of work done at once; at least 1.
    pub concurrency: u32,
}

impl Offer {
    /// What a piece of work of a thousand tokens costs.
    pub(crate) fn expected_price(&self) -> Money {
        self.price + self.price_per_1k_tokens
    }

    /// The most one piece of work may cost: the fixed price plus the price of the whole token budget.
    #[must_use]
    pub fn worst_case(&self) -> Money {
        let tokens = i64::try_from(self.token_budget.unwrap_or(0)).unwrap_or(i64::MAX);
        Money(self.price.0.saturating_add(self.price_per_1k_tokens.0.saturating_mul(tokens) / 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_what_it_writes() {
        for (text, micros) in [("0", 0), ("0.25", 250_000), ("12", 12_000_000), ("0.000001", 1)] {
            assert_eq!(text.parse::<Money>().unwrap(), Money(micros));
            assert_eq!(Money(micros).to_string(), text);
        }
        for text in ["", ".5", "-1", "1.0000001", "a", "99999999999999999999"] {
            assert!(text.parse::<Money>().is_err(), "{text:?} was accepted");
        }
    }
}
