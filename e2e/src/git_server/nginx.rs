//! The configuration of the git server's nginx.

use std::{net::SocketAddr, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::Credentials;

/// Everything it writes lies under `root`; one process, so that no other user is needed.
pub(super) fn config(
    root: &Path,
    listen: SocketAddr,
    http_backend: &Path,
    credentials: &Credentials,
) -> String {
    let root = root.display();
    let http_backend = http_backend.display();
    let basic = basic(credentials);
    let bearer = exactly("Bearer", &credentials.bearer_token);
    format!(
        r#"daemon off;
master_process off;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log {root}/access.log;
  client_body_temp_path {root}/tmp/body;
  proxy_temp_path {root}/tmp/proxy;
  fastcgi_temp_path {root}/tmp/fastcgi;
  uwsgi_temp_path {root}/tmp/uwsgi;
  scgi_temp_path {root}/tmp/scgi;
  client_max_body_size 0;
  map $http_authorization $known {{
    default 0;
    "{basic}" 1;
    "{bearer}" 1;
  }}
  server {{
    listen {listen} ssl;
    ssl_certificate {root}/tls.crt;
    ssl_certificate_key {root}/tls.key;
    location / {{
      if ($known = 0) {{
        add_header WWW-Authenticate 'Basic realm="git"' always;
        return 401;
      }}
      fastcgi_pass unix:{root}/fcgi.sock;
      fastcgi_read_timeout 60s;
      fastcgi_param SCRIPT_FILENAME {http_backend};
      fastcgi_param GIT_PROJECT_ROOT {root}/repos;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_CONFIG_NOSYSTEM 1;
      fastcgi_param REMOTE_USER git;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
    }}
  }}
}}
"#
    )
}

fn basic(credentials: &Credentials) -> String {
    let login = format!("{}:{}", credentials.username, credentials.password);
    exactly("Basic", &BASE64_STANDARD.encode(login))
}

/// A pattern for exactly this header: a plain string in a `map` would ignore the case.
fn exactly(scheme: &str, secret: &str) -> String {
    let escaped = secret.replace('+', "\\+").replace('.', "\\.");
    format!("~^{scheme} {escaped}$")
}
