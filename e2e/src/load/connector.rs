//! Connections to the backend, whatever host a request names.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::backend::Backend;

/// Connects to a backend. So the host of a request's URI is what a gateway sees as its authority, in HTTP/1
/// and in HTTP/2.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) backend: Backend,
}

// === impl Connector ===

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.backend.choose();
        Box::pin(async move {
            let stream = TcpStream::connect(address?).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
