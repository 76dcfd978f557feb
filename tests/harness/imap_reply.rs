//! What an IMAP server answered to one command.

use super::base64;

/// Everything up to the tagged reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Whether the command succeeded.
    pub ok: bool,
    /// The tagged reply without its tag, such as `NO authentication failure`; empty when the
    /// server closed the connection instead.
    pub status_line: String,
    /// The challenges, decoded.
    pub challenges: Vec<Vec<u8>>,
    /// The lines before the tagged reply.
    pub untagged: Vec<String>,
    /// The process that answered, if the reply names its session.
    pub session_pid: Option<u32>,
}

/// A reply while its lines come in.
#[derive(Default)]
pub(super) struct Collector {
    reply: Reply,
}

impl Collector {
    pub(super) fn challenge(&mut self, text: &str) {
        let decoded = base64::decode(text.trim()).expect("a challenge in base64");
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

/// The process id of `SESSIONID=<NAME-TIME-PID-N-RANDOM>`. The name may itself hold dashes.
fn session_pid(status: &str) -> Option<u32> {
    let session = status.split_once("SESSIONID=<")?.1.split_once('>')?.0;
    session.rsplit('-').nth(2)?.parse().ok()
}
