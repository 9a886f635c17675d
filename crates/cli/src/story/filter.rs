//! The choice among messages.

use uwwan_mbim::decode::Decoded;
use uwwan_mbim::print::Personal;

/// Options that choose among messages.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MessageFilter {
    /// Of a capture: messages of this service only, by name or UUID
    #[arg(long, value_name = "SERVICE", help_heading = "Choose")]
    pub service: Option<String>,
    /// Of a capture: messages of this command only, by name or number
    #[arg(long, value_name = "CID", help_heading = "Choose")]
    pub cid: Option<String>,
    /// Of a capture: answers with this status only, by name or number; `bad` means any but success
    #[arg(long, value_name = "STATUS", help_heading = "Choose")]
    pub status: Option<String>,
}

impl MessageFilter {
    /// Returns whether anything is chosen.
    pub fn is_chosen(&self) -> bool {
        self.service.is_some() || self.cid.is_some() || self.status.is_some()
    }

    /// Returns whether a message is chosen.
    pub fn allows(&self, message: &Decoded) -> bool {
        if !self.is_chosen() {
            return true;
        }
        let told = message.json(Personal::Hide);
        let is = |field: &str, wanted: &Option<String>| {
            let Some(wanted) = wanted else { return true };
            match &told[field] {
                serde_json::Value::String(name) => name.eq_ignore_ascii_case(wanted),
                serde_json::Value::Number(number) => number.to_string() == *wanted,
                _ => false,
            }
        };
        let number = |known: Option<u32>, wanted: &Option<String>| {
            known.is_some_and(|known| Some(known.to_string()) == *wanted)
        };
        let status = match self.status.as_deref() {
            Some("bad") => message.status.is_some_and(|status| status.0 != 0),
            _ => {
                is("status", &self.status)
                    || number(message.status.map(|status| status.0), &self.status)
            }
        };
        is("service", &self.service)
            && (is("cid", &self.cid) || number(message.cid, &self.cid))
            && status
    }
}
