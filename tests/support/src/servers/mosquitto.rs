//! Mosquitto, with its limits raised as its documentation says they must be for a backlog.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::write;
use crate::service::{Ready, Service};
use crate::{Process, require};

/// A running Mosquitto that keeps its sessions on disk.
pub struct Mosquitto(Service);

/// How a [`Mosquitto`] shall differ from an open, raised one.
#[derive(Clone, Debug, Default)]
pub struct MosquittoOptions {
    /// User names with their passwords. None: everybody may connect without.
    pub users: Vec<(String, String)>,
    /// More lines of `mosquitto.conf`.
    pub more: String,
}

impl Mosquitto {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start(options: MosquittoOptions) -> Self {
        let program = require("mosquitto");
        Self(Service::start(
            "mosquitto",
            Ready::Accepts,
            move |folder, address| {
                let config = folder.join("mosquitto.conf");
                write(&config, &configuration(&options, folder, address));
                let mut command = Command::new(&program);
                command.arg("-c").arg(config);
                command
            },
        ))
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// `mqtt://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    /// Its process, to stop and continue it or read its log.
    pub fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    /// Kills it at once: what it had not written to disk is lost.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Ends it politely: it writes its sessions to disk.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Starts it again on the same port with the same data, after [`Mosquitto::kill`] or [`Mosquitto::stop`].
    pub fn start_again(&mut self) {
        self.0.start_again();
    }
}

fn configuration(options: &MosquittoOptions, folder: &Path, address: SocketAddr) -> String {
    let access = if options.users.is_empty() {
        "allow_anonymous true\n".to_owned()
    } else {
        let passwords = folder.join("passwords");
        let lines: String = options
            .users
            .iter()
            .map(|(user, password)| format!("{user}:{password}\n"))
            .collect();
        write(&passwords, &lines);
        // Replaces the plain passwords of the file by their hashes.
        let status = Command::new(require("mosquitto_passwd"))
            .arg("-U")
            .arg(&passwords)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "mosquitto_passwd -U failed"
        );
        format!("allow_anonymous false\npassword_file {}\n", passwords.display())
    };
    // As root it would become another user, who can't read the folder.
    format!(
        "listener {port} {ip}\n{access}user root\npersistence true\npersistence_location {folder}/\nautosave_interval 1\n\
         max_inflight_messages 1000\nmax_queued_messages 0\nmax_queued_bytes 0\nset_tcp_nodelay true\n\
         log_dest stdout\nlog_type error\nlog_type warning\nlog_type notice\n{more}\n",
        port = address.port(),
        ip = address.ip(),
        folder = folder.display(),
        more = options.more,
    )
}
