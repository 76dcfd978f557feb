//! The reply of an IMAP server to one command.

use super::base64;

/// All lines up to and including the tagged reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Whether the command succeeded.
    pub ok: bool,
    /// The tagged reply without its tag, such as `NO authentication failure`. Empty if the server
    /// closed the connection instead.
    pub status_line: String,
    /// The decoded challenges.
    pub challenges: Vec<Vec<u8>>,
    /// The untagged lines before the tagged reply.
    pub untagged: Vec<String>,
    /// The process that answered, if the reply contains a session ID.
    pub session_pid: Option<u32>,
}

/// Collects the lines of a reply.
#[derive(Default)]
pub(super) struct Collector {
    reply: Reply,
}

impl Collector {
    pub(super) fn challenge(&mut self, text: &str) {
        let decoded = base64::decode(text.trim()).expect("the challenge is not base64");
        self.reply.challenges.push(decoded);
    }

    pub(super) fn untagged(&mut self, line: String) {
        self.reply.untagged.push(line);
    }

    pub(super) fn ended(mut self, status: &str) -> Reply {
        self.reply.ok = status.starts_with("OK");
        self.reply.session_pid = session_pid(status);
        self.reply.status_line = status.to_owned();
        self.reply
    }

    pub(super) fn closed(self) -> Reply {
        self.reply
    }
}

/// Extracts the process ID from `SESSIONID=<NAME-TIME-PID-N-RANDOM>`. The name may contain dashes.
fn session_pid(status: &str) -> Option<u32> {
    let session = status.split_once("SESSIONID=<")?.1.split_once('>')?.0;
    session.rsplit('-').nth(2)?.parse().ok()
}
