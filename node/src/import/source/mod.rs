//! Where a card is made from: a file, standard input, an address, or an MCP server. Bounded in size and in time, and wary of
//! where an address leads.

mod address;
mod file;
mod http;
mod server;

pub use self::file::{CardError, ReadError, read_card, read_file, read_stdin};
pub use self::http::{FetchError, WELL_KNOWN, fetch};
pub use self::server::{ServerError, ask_command, ask_url};
