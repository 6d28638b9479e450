//! The same repositories over SSH: Debian's sshd, with `git-shell` as all that a key may run.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::{net::TcpStream, process::Command};

use super::{GitServerError, READY, create_folder, free_port, installed, write_private};
use crate::process::{ChildProcess, ProcessSpec};

/// A server; it ends when dropped.
#[derive(Debug)]
pub struct SshServer {
    address: SocketAddr,
    repos: PathBuf,
    identity: String,
    host_key: String,
    _process: ChildProcess,
}

/// Passphrase of the client's key.
pub const PASSPHRASE: &str = "open sesame/3";

/// Folder that sshd wants for the part of it that has no rights.
const EMPTY_FOLDER: &str = "/run/sshd";

// === impl SshServer ===

impl SshServer {
    /// Starts a server on a free port, with what it keeps under `root`, for the repositories in `repos`.
    pub(super) async fn launch(
        root: &Path,
        address: SocketAddr,
        repos: PathBuf,
    ) -> Result<Self, GitServerError> {
        let program = installed("sshd")?;
        create_folder(root)?;
        create_folder(Path::new(EMPTY_FOLDER))?;
        let address = free_port(address.ip()).await?;
        let host_key = keygen(root, "host_key", "").await?;
        let key = keygen(root, "identity", PASSPHRASE).await?;
        let authorized =
            format!(r#"command="git-shell -c \"$SSH_ORIGINAL_COMMAND\"",restrict {key}"#);
        write_private(&root.join("authorized_keys"), &authorized)?;
        write_private(&root.join("sshd.conf"), &config(root, address))?;
        let mut process = ProcessSpec::new("sshd", &program, root.join("sshd.log"))
            .args(["-D", "-e", "-f"])
            .arg(root.join("sshd.conf"))
            .clean_env()
            .spawn()?;
        process
            .wait_ready(READY, || async move {
                TcpStream::connect(address).await.is_ok()
            })
            .await?;
        let identity = root.join("identity");
        let identity = fs::read_to_string(&identity).map_err(unwritable(&identity))?;
        Ok(Self {
            address,
            repos,
            identity,
            host_key,
            _process: process,
        })
    }

    /// URL of a repository.
    pub fn url(&self, repo: &str) -> String {
        let repo = self.repos.join(format!("{repo}.git"));
        format!("ssh://root@{}{}", self.address, repo.display())
    }

    /// The client's private key, which [`PASSPHRASE`] opens.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The line by which the server is known.
    pub fn known_hosts(&self) -> String {
        let SocketAddr::V4(address) = self.address else {
            return String::new();
        };
        format!("[{}]:{} {}", address.ip(), address.port(), self.host_key)
    }
}

fn config(root: &Path, address: SocketAddr) -> String {
    let root = root.display();
    format!(
        "ListenAddress {address}\n\
         HostKey {root}/host_key\n\
         AuthorizedKeysFile {root}/authorized_keys\n\
         PidFile none\n\
         StrictModes no\n\
         UsePAM no\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin forced-commands-only\n"
    )
}

/// Makes a key; returns its public half.
async fn keygen(root: &Path, name: &str, passphrase: &str) -> Result<String, GitServerError> {
    let file = root.join(name);
    let made = Command::new(installed("ssh-keygen")?)
        .args(["-q", "-t", "ed25519", "-C", "e2e", "-N", passphrase, "-f"])
        .arg(&file)
        .status()
        .await;
    match made {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(unwritable(&file)(io::Error::other(status.to_string()))),
        Err(error) => return Err(unwritable(&file)(error)),
    }
    let public = file.with_extension("pub");
    let public = fs::read_to_string(&public).map_err(unwritable(&public))?;
    Ok(public.trim_end().to_owned())
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> GitServerError + use<> {
    let path = path.to_owned();
    |source| GitServerError::Write { path, source }
}
