//! Credentials of the API server and of the users that it knows.
//!
//! Made for each cluster: an authority and the server's certificate, the key that signs
//! service-account tokens, and one token for each part.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{
    kubeconfig::{self, KubeconfigSpec, User},
    metrics_api,
    network::NODE_ADDRESS,
    token::Token,
};

/// Longer than any run.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// The files that the API server reads, and the tokens that it knows.
#[derive(Debug)]
pub(super) struct Credentials {
    dir: PathBuf,
    tokens: Vec<(User, Token)>,
}

// === impl Credentials ===

impl Credentials {
    /// Makes all of them, in a folder of the run.
    pub(super) fn create(run: &Path) -> Result<Self> {
        let dir = run.join("credentials");
        fs::create_dir(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        let mut tokens = Vec::new();
        for user in User::PARTS {
            tokens.push((user, Token::random()?));
        }
        let credentials = Self { dir, tokens };
        credentials.write_certificates()?;
        credentials.write_service_account_key()?;
        credentials.write_tokens()?;
        Ok(credentials)
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    pub(super) fn server_certificate(&self) -> PathBuf {
        self.dir.join("apiserver.crt")
    }

    pub(super) fn server_key(&self) -> PathBuf {
        self.dir.join("apiserver.key")
    }

    pub(super) fn service_account_key(&self) -> PathBuf {
        self.dir.join("service-accounts.key")
    }

    pub(super) fn service_account_public_key(&self) -> PathBuf {
        self.dir.join("service-accounts.pub")
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.dir.join("tokens.csv")
    }

    /// A kubeconfig for one of the parts' users.
    pub(super) fn kubeconfig(&self, spec: &KubeconfigSpec) -> Result<PathBuf> {
        let (_, token) = self
            .tokens
            .iter()
            .find(|(user, _)| *user == spec.user)
            .with_context(|| format!("{:?} has no token of its own", spec.user))?;
        self.kubeconfig_with(spec, token)
    }

    /// A kubeconfig with this token.
    pub(super) fn kubeconfig_with(&self, spec: &KubeconfigSpec, token: &Token) -> Result<PathBuf> {
        let content = kubeconfig::render(spec, token, &self.authority());
        let path = self.dir.join(format!("{}.kubeconfig", spec.name));
        write_private(&path, &content)?;
        Ok(path)
    }

    fn write_certificates(&self) -> Result<()> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "tidegate e2e");
        let certificate = authority.self_signed(&authority_key)?;
        write_private(&self.authority(), &certificate.pem())?;

        let key = KeyPair::generate()?;
        let names = [
            NODE_ADDRESS.to_string(),
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            "kubernetes.default.svc".to_owned(),
            metrics_api::SERVER_NAME.to_owned(),
        ];
        let server = CertificateParams::new(names)?
            .signed_by(&key, &Issuer::new(authority, authority_key))?;
        write_private(&self.server_certificate(), &server.pem())?;
        write_private(&self.server_key(), &key.serialize_pem())
    }

    fn write_service_account_key(&self) -> Result<()> {
        let key = KeyPair::generate()?;
        write_private(&self.service_account_key(), &key.serialize_pem())?;
        write_private(&self.service_account_public_key(), &key.public_key_pem())
    }

    fn write_tokens(&self) -> Result<()> {
        let mut lines = String::new();
        for (user, token) in &self.tokens {
            let name = user.name();
            let _ = writeln!(
                lines,
                "{},{name},{name},\"{}\"",
                token.expose(),
                user.groups()
            );
        }
        write_private(&self.token_file(), &lines)
    }
}

/// A token for a service account, which is created if it does not exist.
pub(super) async fn service_account_token(
    admin: &Client,
    namespace: &str,
    name: &str,
) -> Result<Token> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    match accounts.create(&PostParams::default(), &account).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        other => {
            other.with_context(|| format!("the account {namespace}/{name} cannot be created"))?;
        }
    }
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .with_context(|| format!("the account {namespace}/{name} got no token"))?;
    let status = answer.status.context("a token request without an answer")?;
    Ok(Token(status.token))
}

/// Writes a file that only we may read.
fn write_private(path: &Path, content: &str) -> Result<()> {
    File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("{} cannot be written", path.display()))
}
