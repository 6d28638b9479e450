//! Git over HTTPS with a login, as a git host serves it: `git http-backend` behind nginx.
//!
//! ```text
//! git client ──https──▶ nginx ──FastCGI──▶ fcgiwrap ──CGI──▶ git http-backend ──▶ repos/NAME.git
//!                        │ Basic or Bearer
//! ```
//!
//! Runs from a folder of its own, as whoever calls it; nothing of the system's nginx is used but
//! the program. Tests commit and read by [`Repo`], straight in the bare repository, so they work
//! while the server is down.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream, UnixStream};

pub use self::{
    repo::{Change, Commit, Repo, RepoError},
    ssh::{PASSPHRASE, SshServer},
};
use crate::process::{ChildProcess, ProcessError, ProcessSpec};

mod certificate;
mod git;
mod nginx;
mod repo;
mod ssh;

/// Time that nginx and fcgiwrap have to listen; both do within tens of milliseconds.
const READY: Duration = Duration::from_secs(20);
/// Time that they have to end before they are killed.
const GRACE: Duration = Duration::from_secs(5);

/// A login that the server accepts. `Debug` does not tell its secrets.
#[derive(Clone)]
pub struct Credentials {
    /// The user of basic authentication.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Token that a bearer shows instead.
    pub bearer_token: String,
}

/// A git server; it ends when dropped.
#[derive(Debug)]
pub struct GitServer {
    root: PathBuf,
    address: SocketAddr,
    ca_pem: String,
    credentials: Credentials,
    programs: Programs,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    nginx: ChildProcess,
    fcgiwrap: ChildProcess,
}

#[derive(Clone, Debug)]
struct Programs {
    nginx: PathBuf,
    fcgiwrap: PathBuf,
    http_backend: PathBuf,
}

/// Failure to start a git server.
#[derive(Debug, thiserror::Error)]
pub enum GitServerError {
    /// A program is not installed.
    #[error(
        "{program} is not installed: apt-get install -y git nginx-light fcgiwrap openssh-server"
    )]
    Missing {
        /// The program.
        program: &'static str,
    },
    /// A file or folder of the server could not be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// There is no port to be had.
    #[error("no port on {address} can be had: {source}")]
    Port {
        /// The address.
        address: IpAddr,
        /// Cause.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("the server's certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A program did not start or end.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A repository could not be made.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

// === impl GitServer ===

impl GitServer {
    /// Starts a server on a free port of `address`, with everything it keeps under `root`.
    pub async fn launch(root: impl Into<PathBuf>, address: IpAddr) -> Result<Self, GitServerError> {
        let programs = Programs::find().await?;
        let root = root.into();
        create_folder(&root.join("repos"))?;
        create_folder(&root.join("tmp"))?;
        let certificate = certificate::issue(address)?;
        let mut server = Self {
            address: free_port(address).await?,
            root,
            ca_pem: certificate.ca,
            credentials: Credentials::default(),
            programs,
            running: None,
        };
        write_private(&server.root.join("tls.crt"), &certificate.chain)?;
        write_private(&server.root.join("tls.key"), &certificate.key)?;
        let config = nginx::config(
            &server.root,
            server.address,
            &server.programs.http_backend,
            &server.credentials,
        );
        write_private(&server.root.join("nginx.conf"), &config)?;
        server.start().await?;
        Ok(server)
    }

    /// Fails with a sentence that names the first program which it needs and which is missing.
    pub async fn check_programs() -> Result<(), GitServerError> {
        Programs::find().await.map(drop)
    }

    /// Takes the server up again, on the same port, as it was.
    pub async fn start(&mut self) -> Result<(), GitServerError> {
        if self.running.is_some() {
            return Ok(());
        }
        let socket = self.root.join("fcgi.sock");
        // A socket that was not removed in time cannot be bound.
        let _ = fs::remove_file(&socket);
        let mut fcgiwrap = self.fcgiwrap(&socket).spawn()?;
        fcgiwrap
            .wait_ready(READY, || async {
                UnixStream::connect(&socket).await.is_ok()
            })
            .await?;
        let mut nginx = self.nginx().spawn()?;
        let address = self.address;
        nginx
            .wait_ready(READY, || async move {
                TcpStream::connect(address).await.is_ok()
            })
            .await?;
        self.running = Some(Running { nginx, fcgiwrap });
        Ok(())
    }

    /// Takes the server down: whoever asks is refused, repositories stay as they are.
    pub async fn stop(&mut self) -> Result<(), GitServerError> {
        if let Some(mut running) = self.running.take() {
            running.nginx.stop(GRACE).await?;
            running.fcgiwrap.stop(GRACE).await?;
        }
        Ok(())
    }

    /// Stops the server in the middle of whatever it does: whoever asks is heard and not answered,
    /// until [`GitServer::thaw`].
    pub fn freeze(&mut self) -> Result<(), GitServerError> {
        if let Some(running) = &mut self.running {
            running.nginx.freeze()?;
            running.fcgiwrap.freeze()?;
        }
        Ok(())
    }

    /// Lets a frozen server go on.
    pub fn thaw(&mut self) -> Result<(), GitServerError> {
        if let Some(running) = &mut self.running {
            running.fcgiwrap.thaw()?;
            running.nginx.thaw()?;
        }
        Ok(())
    }

    /// URL of a repository.
    pub fn url(&self, repo: &str) -> String {
        format!("https://{}/{repo}.git", self.address)
    }

    /// The same repositories over SSH.
    pub async fn ssh(&self) -> Result<SshServer, GitServerError> {
        SshServer::launch(
            &self.root.join("ssh"),
            self.address,
            self.root.join("repos"),
        )
        .await
    }

    /// The certificate authority of the server, for clients to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Credentials that the server accepts.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The repository of this name, made with an empty branch `main` if it is not there.
    pub async fn repo(&self, name: &str) -> Result<Repo, GitServerError> {
        let path = self.root.join("repos").join(format!("{name}.git"));
        Ok(Repo::open_or_init(&path).await?)
    }

    fn fcgiwrap(&self, socket: &Path) -> ProcessSpec {
        ProcessSpec::new(
            "fcgiwrap",
            &self.programs.fcgiwrap,
            self.root.join("fcgiwrap.log"),
        )
        .args(["-f", "-c", "4", "-s"])
        .arg(format!("unix:{}", socket.display()))
        .clean_env()
        .env("HOME", &self.root)
    }

    fn nginx(&self) -> ProcessSpec {
        ProcessSpec::new("nginx", &self.programs.nginx, self.root.join("nginx.log"))
            .arg("-e")
            .arg(self.root.join("error.log"))
            .arg("-p")
            .arg(&self.root)
            .arg("-c")
            .arg(self.root.join("nginx.conf"))
            .clean_env()
    }
}

// === impl Programs ===

impl Programs {
    async fn find() -> Result<Self, GitServerError> {
        let exec_path = git::exec_path()
            .await
            .map_err(|_| GitServerError::Missing { program: "git" })?;
        let http_backend = exec_path.join("git-http-backend");
        if !http_backend.exists() {
            return Err(GitServerError::Missing {
                program: "git-http-backend",
            });
        }
        Ok(Self {
            nginx: installed("nginx")?,
            fcgiwrap: installed("fcgiwrap")?,
            http_backend,
        })
    }
}

/// Debian puts daemons where the path of a plain user does not reach.
fn installed(program: &'static str) -> Result<PathBuf, GitServerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or(GitServerError::Missing { program })
}

async fn free_port(address: IpAddr) -> Result<SocketAddr, GitServerError> {
    match TcpListener::bind((address, 0)).await {
        Ok(listener) => listener.local_addr(),
        Err(error) => Err(error),
    }
    .map_err(|source| GitServerError::Port { address, source })
}

fn create_folder(path: &Path) -> Result<(), GitServerError> {
    fs::create_dir_all(path).map_err(|source| GitServerError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that only we may read: keys, and a configuration that holds logins.
fn write_private(path: &Path, text: &str) -> Result<(), GitServerError> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let opened = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| GitServerError::Write {
        path: path.to_owned(),
        source,
    })
}

// === impl Credentials ===

impl Default for Credentials {
    fn default() -> Self {
        Self {
            username: "tidegate".to_owned(),
            password: "open+sesame/1".to_owned(),
            bearer_token: "bearer-sesame-2".to_owned(),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"***")
            .field("bearer_token", &"***")
            .finish()
    }
}

#[cfg(test)]
mod tests;
