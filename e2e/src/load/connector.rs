//! Connections to the gateway, whatever host a request names.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

/// Connects to one address. So the host of a request's URI is what the gateway sees as its
/// authority, in HTTP/1 and in HTTP/2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connector {
    pub(super) gateway: SocketAddr,
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
        let gateway = self.gateway;
        Box::pin(async move {
            let stream = TcpStream::connect(gateway).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
