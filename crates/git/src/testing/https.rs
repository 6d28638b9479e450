//! Smart HTTP over TLS in front of a repository on the disk, as git's own `http-backend` has it, with a count
//! of what is asked.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use rcgen::CertifiedKey;
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// The header of `git:hunter2`.
const BASIC: &str = "basic z2l0omh1bnrlcji=";

/// A server that wants the password `hunter2` of `git`.
pub(crate) struct HttpsServer {
    pub(crate) url: String,
    /// The certificate, in PEM, which it has signed itself.
    pub(crate) ca: Vec<u8>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// Request, as far as it matters.
struct Request {
    /// Method and path.
    line: String,
    protocol: String,
    is_allowed: bool,
    body: Vec<u8>,
}

// === impl HttpsServer ===

impl HttpsServer {
    pub(crate) async fn start(repository: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/a.git", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (seen, repository) = (requests.clone(), repository.to_owned());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, repository) =
                    (acceptor.clone(), seen.clone(), repository.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, repository, &seen).await;
                    }
                });
            }
        });
        Self {
            url,
            ca: cert.pem().into_bytes(),
            requests,
            task,
        }
    }

    /// Requests since the last call: status, method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Closes the port.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    repository: PathBuf,
    seen: &Mutex<Vec<String>>,
) {
    while let Some(request) = read(&mut stream).await {
        let status = if request.is_allowed { 200 } else { 401 };
        seen.lock()
            .unwrap()
            .push(format!("{status} {}", request.line));
        let answer = if request.is_allowed {
            answer(&request, &repository).await
        } else {
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\r\n"
                .to_vec()
        };
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn answer(request: &Request, repository: &Path) -> Vec<u8> {
    let is_advertisement = request.line.starts_with("GET");
    let mut git = Command::new("git");
    git.args(["upload-pack", "--stateless-rpc"]);
    if is_advertisement {
        git.arg("--advertise-refs");
    }
    let mut git = git
        .arg(repository)
        .env("GIT_PROTOCOL", &request.protocol)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = git.stdin.take().unwrap();
    stdin.write_all(&request.body).await.unwrap();
    drop(stdin);
    let output = git.wait_with_output().await.unwrap();
    let (media_type, mut body) = if is_advertisement {
        let service = b"001e# service=git-upload-pack\n0000".to_vec();
        ("application/x-git-upload-pack-advertisement", service)
    } else {
        ("application/x-git-upload-pack-result", Vec::new())
    };
    body.extend(output.stdout);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length: usize = header(&head, "content-length").parse().unwrap_or_default();
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let line = head.lines().next().unwrap_or_default();
    Some(Request {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        protocol: header(&head, "git-protocol").to_owned(),
        is_allowed: header(&head, "authorization").to_lowercase() == BASIC,
        body,
    })
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        if key.eq_ignore_ascii_case(name) {
            Some(value.trim())
        } else {
            None
        }
    });
    found.unwrap_or_default()
}
