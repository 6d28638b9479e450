//! gRPC as far as a gateway and a load need it: calls without a message, over HTTP/2 in clear text.
//!
//! A real gRPC library would bring a code generator for one empty message. The framing is that of
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::StreamBody;
use hyper::body::Frame;

/// Media type of calls and of their answers.
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Header or trailer with the code of an answer.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Code of an answer without an error.
pub const OK: u16 = 0;

/// Code of an error of the server.
pub const INTERNAL: u16 = 13;

/// Empty message: not compressed, and of length 0.
pub const EMPTY_MESSAGE: Bytes = Bytes::from_static(&[0; 5]);

/// Tells whether a request is a gRPC call.
pub(super) fn is_call(request: &Request) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(CONTENT_TYPE.as_bytes()))
}

/// Returns an answer with this code in its trailers, and an empty message where it is OK.
pub(super) fn answer(code: u16) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(code));
    let mut frames = Vec::new();
    if code == OK {
        frames.push(Frame::data(EMPTY_MESSAGE));
    }
    frames.push(Frame::trailers(trailers));
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}
