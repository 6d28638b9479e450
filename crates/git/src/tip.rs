//! The tip of a branch, asked for with one request and without a process.
//!
//! Most polls find nothing new. The git program takes three processes, three requests and 50 to
//! 60 ms of CPU for one. This is the command `ls-refs` of git's
//! protocol v2 ([gitprotocol-v2(5)]) over smart HTTP ([gitprotocol-http(5)]): the service keeps no
//! state between requests, so its capabilities need not be asked for first. Whatever is not a clear
//! answer is left to the git program, which knows what to say about it.
//!
//! [gitprotocol-v2(5)]: https://git-scm.com/docs/gitprotocol-v2
//! [gitprotocol-http(5)]: https://git-scm.com/docs/gitprotocol-http

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use gix_packetline::{
    PacketLineRef,
    decode::{Stream, streaming},
};
use reqwest::{
    Certificate, Client, NoProxy, Proxy, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use tokio::sync::Semaphore;

use crate::{
    commit::ObjectId,
    remote::{Credentials, Protocol, Remote},
    secret::Secret,
};

/// Asks git servers for the tips of branches. Connections are kept between requests.
pub(crate) struct TipClient {
    proxy: Option<Secret>,
    no_proxy: Option<String>,
    /// Clients by the CA bundle that they trust: loading the system's takes longer than a request.
    clients: Mutex<HashMap<Option<Vec<u8>>, Client>>,
    /// Places for requests.
    places: Semaphore,
}

/// Answer of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TipAnswer {
    /// The branch is at this commit.
    At(ObjectId),
    /// No answer: the server cannot be reached, or is slow.
    None,
    /// An answer that does not say where the branch is. The git program can tell more.
    Unclear,
    /// The server does not speak this protocol.
    Unsupported,
}

/// An answer that takes longer is not worth waiting for: the git program asks with more patience.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests at a time: a server that is slow takes one for [`TIMEOUT`].
const PLACES: usize = 64;

/// Far above an answer about one branch and those whose names begin with its name.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Media type of an answer.
const RESULT_TYPE: &str = "application/x-git-upload-pack-result";

// === impl TipClient ===

impl TipClient {
    pub(crate) fn new(proxy: Option<Secret>, no_proxy: Option<String>) -> Self {
        Self {
            proxy,
            no_proxy,
            clients: Mutex::default(),
            places: Semaphore::new(PLACES),
        }
    }

    /// Asks for the tip of a branch.
    pub(crate) async fn tip(&self, remote: &Remote, branch: &str) -> TipAnswer {
        if remote.protocol() != Protocol::Https {
            return TipAnswer::Unsupported;
        }
        // A CA that cannot be read, or a proxy that cannot be used: the git program says so.
        let Ok(client) = self.client(remote) else {
            return TipAnswer::Unclear;
        };
        let _place = self.places.acquire().await.expect("it is never closed");
        match ask(&client, remote, branch).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = error.without_url();
                tracing::debug!(url = remote.url(), %error, "cannot ask for the tip of a branch");
                TipAnswer::None
            }
        }
    }

    /// Forgets the clients of certificates that are not among these.
    pub(crate) fn retain(&self, cas: &HashSet<Vec<u8>>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|ca, _| ca.as_ref().is_none_or(|ca| cas.contains(ca)));
    }

    fn client(&self, remote: &Remote) -> Result<Client, reqwest::Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let ca = remote.ca().map(<[u8]>::to_vec);
        if let Some(client) = clients.get(&ca) {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .no_proxy()
            // The credentials would be sent to wherever the server points.
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .timeout(TIMEOUT);
        if let Some(pem) = &ca {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem)?);
        }
        if let Some(proxy) = &self.proxy {
            let not_through = self.no_proxy.as_deref().and_then(NoProxy::from_string);
            builder = builder.proxy(Proxy::all(proxy.expose())?.no_proxy(not_through));
        }
        let client = builder.build()?;
        clients.insert(ca, client.clone());
        Ok(client)
    }
}

impl fmt::Debug for TipClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TipClient")
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

async fn ask(client: &Client, remote: &Remote, branch: &str) -> Result<TipAnswer, reqwest::Error> {
    let url = format!("{}/git-upload-pack", remote.url().trim_end_matches('/'));
    let mut request = client
        .post(url)
        .header("Git-Protocol", "version=2")
        .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
        .header(ACCEPT, RESULT_TYPE)
        .body(ls_refs(branch));
    request = match remote.credentials() {
        // A key is for SSH, which is not asked here.
        Credentials::Anonymous | Credentials::Key { .. } => request,
        Credentials::Basic { username, password } => {
            request.basic_auth(username, Some(password.expose()))
        }
        Credentials::Bearer(token) => request.bearer_auth(token.expose()),
    };
    let mut response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Ok(on_failure(response.status()));
    }
    if !is_result(&response) {
        return Ok(TipAnswer::Unsupported);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Ok(TipAnswer::Unclear);
        }
    }
    Ok(tip_in(&body, branch))
}

/// A status that says that the request itself is not supported means that the server does not
/// speak the protocol; any other is left to the git program to report.
fn on_failure(status: StatusCode) -> TipAnswer {
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::NOT_IMPLEMENTED => TipAnswer::Unsupported,
        _ => TipAnswer::Unclear,
    }
}

fn is_result(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes() == RESULT_TYPE.as_bytes())
}

/// The command as packet lines.
fn ls_refs(branch: &str) -> String {
    let command = packet("command=ls-refs\n");
    let prefix = packet(&format!("ref-prefix refs/heads/{branch}\n"));
    format!("{command}0001{prefix}0000")
}

fn packet(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

/// Finds a branch in the packet lines of an answer, which have to end as they should.
fn tip_in(mut body: &[u8], branch: &str) -> TipAnswer {
    let mut tip = TipAnswer::Unclear;
    loop {
        let Ok(Stream::Complete {
            line,
            bytes_consumed,
        }) = streaming(body)
        else {
            return TipAnswer::Unsupported;
        };
        body = &body[bytes_consumed..];
        match line {
            PacketLineRef::Data(data) => {
                if let Some(id) = id_in(data, branch) {
                    tip = TipAnswer::At(id);
                }
            }
            PacketLineRef::Flush => return tip,
            PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => return TipAnswer::Unsupported,
        }
    }
}

/// Reads `ID refs/heads/BRANCH`, which attributes may follow.
fn id_in(line: &[u8], branch: &str) -> Option<ObjectId> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.trim_end_matches('\n').split(' ');
    let (id, name) = (words.next()?, words.next()?);
    if name.strip_prefix("refs/heads/") != Some(branch) {
        return None;
    }
    ObjectId::from_hex(id.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use std::process::{Command, Stdio};

    use super::*;
    use crate::testing::Server;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn at(id: &str) -> TipAnswer {
        TipAnswer::At(ObjectId::from_hex(id.as_bytes()).unwrap())
    }

    #[test]
    fn the_branch_of_the_whole_name_is_found() {
        let lines = [
            packet(&format!("{ONE} refs/heads/main-2\n")),
            packet(&format!("{TWO} refs/heads/main\n")),
        ];
        let body = format!("{}0000", lines.concat());
        assert_eq!(tip_in(body.as_bytes(), "main"), at(TWO));
        assert_eq!(tip_in(body.as_bytes(), "main-2"), at(ONE));
        assert_eq!(
            tip_in(b"0000", "main"),
            TipAnswer::Unclear,
            "no such branch"
        );
    }

    #[test]
    fn a_truncated_or_foreign_answer_is_not_taken_for_one() {
        let line = packet(&format!("{ONE} refs/heads/main\n"));
        for body in [
            "",
            "<html>",
            "00",
            &line,
            "0003",
            "001e# service=git-upload-pack\n0001",
        ] {
            assert_eq!(
                tip_in(body.as_bytes(), "main"),
                TipAnswer::Unsupported,
                "{body}"
            );
        }
    }

    #[test]
    fn gits_own_server_answers_the_command() {
        let server = Server::new();
        server.commit("main-2", &[("a.yaml", "1")]);
        let tip = server.commit("main", &[("a.yaml", "2")]);
        let mut git = Command::new("git")
            .args(["upload-pack", "--stateless-rpc"])
            .arg(server.path())
            .env("GIT_PROTOCOL", "version=2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = git.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, ls_refs("main").as_bytes()).unwrap();
        drop(stdin);
        let output = git.wait_with_output().unwrap();
        assert_eq!(tip_in(&output.stdout, "main"), TipAnswer::At(tip));
    }

    #[test]
    fn only_a_refusal_of_the_request_itself_means_that_it_is_unsupported() {
        assert_eq!(on_failure(StatusCode::UNAUTHORIZED), TipAnswer::Unclear);
        assert_eq!(on_failure(StatusCode::FOUND), TipAnswer::Unclear);
        assert_eq!(on_failure(StatusCode::BAD_GATEWAY), TipAnswer::Unclear);
        assert_eq!(on_failure(StatusCode::BAD_REQUEST), TipAnswer::Unsupported);
    }
}
