//! A document at an address: bounded in size and time, and never led from the public internet into a private network.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{ACCEPT, LOCATION};

use super::address::is_inward;
use crate::import::document::MAX_BYTES;

/// Where a host that speaks A2A has its card.
pub const WELL_KNOWN: &str = "/.well-known/agent-card.json";
/// A host that does not accept a connection is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest all of it may take.
const WITHIN: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const HOPS: usize = 5;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an address we can ask.
    #[error("wanted an address with http:// or https:// and a host, found {found:?}")]
    Address {
        /// What was given.
        found: String,
    },
    /// An address with a secret in it, which would be repeated in messages and lists of processes.
    #[error("wanted an address without a user and a password, found one of {host} with them")]
    Credentials {
        /// The host.
        host: String,
    },
    /// Its host has no address.
    #[error("wanted an address of {host}, found none")]
    Unknown {
        /// The host.
        host: String,
    },
    /// The request failed.
    #[error("cannot get {url}")]
    Request {
        /// What was asked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The host answered that it has none.
    #[error("wanted a document at {url}, found {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer.
        status: reqwest::StatusCode,
    },
    /// Larger than a document may be.
    #[error("wanted at most {MAX_BYTES} bytes at {url}, found more")]
    TooLarge {
        /// What was asked for.
        url: String,
    },
    /// It took too long.
    #[error("wanted an answer of {url} within {} seconds, found none", WITHIN.as_secs())]
    TooSlow {
        /// What was asked for.
        url: String,
    },
    /// A redirect that is not followed.
    #[error("wanted {wanted}, found one from {from} to {url:?}")]
    Redirect {
        /// What would have been followed.
        wanted: &'static str,
        /// Where to.
        url: String,
        /// Who redirected.
        from: String,
    },
}

/// Fetches what is at an address. An address without a path is a host that speaks A2A.
///
/// # Errors
/// When it cannot be had, or is not where it should be.
pub async fn fetch(source: &str) -> Result<Vec<u8>, FetchError> {
    let mut url = parse(source)?;
    if url.path() == "/" && url.query().is_none() {
        url.set_path(WELL_KNOWN);
    }
    let slow = FetchError::TooSlow { url: url.to_string() };
    let followed = async {
        // Whoever names an address of a private network may be led about there; nobody is led there from outside.
        let inward = leads_inward(&addresses(&url).await?);
        follow(url, inward).await
    };
    tokio::time::timeout(WITHIN, followed).await.unwrap_or(Err(slow))
}

/// An address that can be asked.
pub(super) fn parse(text: &str) -> Result<Url, FetchError> {
    let found = || FetchError::Address { found: text.chars().take(200).collect() };
    let url = Url::parse(text).map_err(|_| found())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::Credentials { host: url.host_str().unwrap_or_default().to_owned() });
    }
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(found()) }
}

async fn follow(mut url: Url, inward_allowed: bool) -> Result<Vec<u8>, FetchError> {
    let mut to = String::new();
    for _ in 0..=HOPS {
        let addresses = addresses(&url).await?;
        let refused = |wanted| FetchError::Redirect { wanted, url: url.to_string(), from: to.clone() };
        if leads_inward(&addresses) && !inward_allowed {
            return Err(refused("a redirect within the public internet"));
        }
        let response = get(&url, &addresses).await?;
        if !response.status().is_redirection() {
            return body(url, response).await;
        }
        let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        let next = url.join(location).ok().and_then(|next| parse(next.as_str()).ok());
        let next = next.filter(|next| url.scheme() == "http" || next.scheme() == "https");
        to = url.to_string();
        url = match next {
            Some(next) => next,
            None => {
                let url = location.chars().take(200).collect();
                return Err(FetchError::Redirect {
                    wanted: "a redirect to https, or from http",
                    url,
                    from: to,
                });
            }
        };
    }
    Err(FetchError::Redirect { wanted: "at most 5 redirects", url: url.to_string(), from: to })
}

fn leads_inward(addresses: &[SocketAddr]) -> bool {
    addresses.iter().any(|address| is_inward(address.ip()))
}

/// Every address of the host. The request goes to these and no others, whatever its name means a moment later.
async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let unknown = || FetchError::Unknown { host: host.to_owned() };
    let port = url.port_or_known_default().ok_or_else(unknown)?;
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host((bare, port)).await.map_err(|_| unknown())?.collect();
    if found.is_empty() { Err(unknown()) } else { Ok(found) }
}

async fn get(url: &Url, addresses: &[SocketAddr]) -> Result<reqwest::Response, FetchError> {
    let failed = |source| FetchError::Request { url: url.to_string(), source };
    let client = client(url, addresses).map_err(failed)?;
    let accept = "application/json, application/yaml;q=0.9, */*;q=0.5";
    client.get(url.clone()).header(ACCEPT, accept).send().await.map_err(failed)
}

/// A client that goes to these addresses of one host, and nowhere else on its own.
fn client(url: &Url, addresses: &[SocketAddr]) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .resolve_to_addrs(url.host_str().unwrap_or_default(), addresses)
        .user_agent(concat!("foa/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A client for many requests to one address.
pub(super) async fn client_of(url: &Url) -> Result<reqwest::Client, FetchError> {
    let addresses = addresses(url).await?;
    client(url, &addresses).map_err(|source| FetchError::Request { url: url.to_string(), source })
}

async fn body(url: Url, mut response: reqwest::Response) -> Result<Vec<u8>, FetchError> {
    let status = response.status();
    if !status.is_success() {
        return Err(FetchError::Status { url: url.to_string(), status });
    }
    let mut bytes = Vec::new();
    let failed = |source| FetchError::Request { url: url.to_string(), source };
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(FetchError::TooLarge { url: url.to_string() });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers every request for a path with what `answer` makes of it, until the test ends.
    fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                answer(first.split(' ').nth(1).unwrap(), &mut stream);
            }
        });
        address
    }

    fn redirecting() -> String {
        serve(|path, stream| {
            // A client that was refused may be gone.
            let _ = match path {
                "/there" => {
                    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nthere")
                }
                "/round" => write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nlocation: /round\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                ),
                "/file" => write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                ),
                _ => write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                ),
            };
        })
    }

    #[tokio::test]
    async fn nobody_is_led_into_a_private_network_from_outside() {
        let address = redirecting();
        let url = |path: &str| parse(&format!("{address}{path}")).unwrap();
        assert_eq!(follow(url("/here"), true).await.unwrap(), b"there");
        let error = follow(url("/here"), false).await.unwrap_err();
        assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
        for path in ["/round", "/file"] {
            let error = follow(url(path), true).await.unwrap_err();
            assert!(matches!(error, FetchError::Redirect { .. }), "{path}: {error}");
        }
    }

    #[tokio::test]
    async fn a_flood_is_cut_off() {
        let address = serve(|_, stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            let piece = vec![b' '; 1 << 20];
            while stream.write_all(&piece).is_ok() {}
        });
        let error = fetch(&format!("{address}/flood")).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
    }

    #[tokio::test]
    async fn only_the_web_is_asked() {
        for text in ["ftp://host/x", "file:///etc/passwd", "http://", "host", "", "https:///x"] {
            assert!(
                matches!(fetch(text).await, Err(FetchError::Address { .. } | FetchError::Unknown { .. })),
                "{text}"
            );
        }
    }
}
