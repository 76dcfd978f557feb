//! The whole plugin in the real libsasl2: start, step and dispose in any order, several
//! connections at once; and the plugin's own tables, called as a host may that is not
//! libsasl2. Whoever is logged in, a good credential of his was sent, and nothing that
//! must not be read is in the log.
//!
//! The fuzzer's target `tables` is this, and `tests/fuzzed_tables.rs` with the inputs
//! that are committed.

// SAFETY comments stand where a promise is more than that what libsasl2 gave goes back
// to it, by one thread.
#![allow(clippy::undocumented_unsafe_blocks)]

mod cas;
mod connection;
mod exchange;
mod host;
mod libsasl2;
mod messages;

use std::io::Write;
use std::path::Path;

// Links the plugin to this program.
use sso as _;

use connection::Connection;
use exchange::Exchange;
use host::Host;
use messages::Draw;

/// So many connections, and so many exchanges that libsasl2 knows nothing of.
const CONNECTIONS: usize = 3;
const EXCHANGES: usize = 4;

/// So many things are done with one input.
const MOST: usize = 64;

/// A host, once for each process.
pub struct Site(Host);

impl Site {
    /// Starts it, with all that it writes below `directory`.
    pub fn start(directory: &Path) -> Self {
        Self(host::start(directory, cas::start()))
    }

    /// Does all that an input says.
    pub fn run(&self, data: &[u8]) {
        let mut draw = Draw(data);
        let mut world = World {
            host: self.0,
            connections: Default::default(),
            exchanges: Default::default(),
            is_freed: false,
        };
        for _ in 0..MOST {
            match draw.next() {
                Some(order) => world.act(order, &mut draw),
                None => break,
            }
        }
        world.end();
    }
}

/// What must not be was found.
pub(crate) fn finding(what: &str) -> ! {
    // A panic would not pass the C functions that are in between; and what a test prints
    // is kept from who would read it.
    let _ = writeln!(std::io::stderr(), "finding: {what}");
    std::process::abort();
}

struct World {
    host: Host,
    connections: [Option<Connection>; CONNECTIONS],
    exchanges: [Option<Exchange>; EXCHANGES],
    is_freed: bool,
}

impl World {
    fn act(&mut self, order: u8, draw: &mut Draw<'_>) {
        let which = usize::from(order >> 4);
        if let 0 | 7 = order & 0xf {
            self.hang_up(which % CONNECTIONS);
        }
        let connection = &mut self.connections[which % CONNECTIONS];
        let exchange = &mut self.exchanges[which % EXCHANGES];
        match order & 0xf {
            0 => *connection = Some(Connection::new(draw)),
            1..=4 => connection
                .get_or_insert_with(|| Connection::new(draw))
                .start(draw, self.is_freed),
            5 | 6 => {
                if let Some(connection) = connection {
                    connection.step(draw);
                }
            }
            7 => {}
            8 | 9 => {
                let place = usize::from(draw.byte()) % CONNECTIONS;
                if let Some(params) = self.connections[place]
                    .as_ref()
                    .and_then(Connection::params)
                {
                    let new = Exchange::new(&self.host, params, place, draw, self.is_freed);
                    *exchange = new.or(exchange.take());
                }
            }
            10..=12 => {
                if let Some(exchange) = exchange {
                    exchange.step(draw);
                }
            }
            13 => drop(exchange.take()),
            14 => exchange::nothing(&self.host, draw),
            _ => self.free_or_begin(),
        }
    }

    /// Ends a connection, and before it what is on it.
    fn hang_up(&mut self, place: usize) {
        let of_it = |exchange: &Exchange| exchange.connection == place;
        for exchange in &mut self.exchanges {
            if exchange.as_ref().is_some_and(of_it) {
                *exchange = None;
            }
        }
        self.connections[place] = None;
    }

    /// As a host does that ends and goes on: what is under way stays under way.
    fn free_or_begin(&mut self) {
        if self.is_freed {
            exchange::begin(&self.host);
        } else {
            exchange::free(&self.host);
        }
        self.is_freed = !self.is_freed;
    }

    /// The next input finds it as this one did.
    fn end(mut self) {
        if self.is_freed {
            self.free_or_begin();
        }
        self.exchanges = Default::default();
        self.connections = Default::default();
    }
}
