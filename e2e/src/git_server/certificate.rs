//! The git server's certificate, issued by an authority made for it.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A server's certificate and key, and the authority that its clients trust; each in PEM.
pub(super) struct ServerCertificate {
    pub(super) ca: String,
    pub(super) chain: String,
    pub(super) key: String,
}

/// A certificate for this address and the loopback ones, by an authority whose key is forgotten.
pub(super) fn issue(address: IpAddr) -> Result<ServerCertificate, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "Tidegate e2e git CA");
    let ca = authority.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(authority, ca_key);

    let key = KeyPair::generate()?;
    let names = [
        address.to_string(),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
    ];
    let mut server = CertificateParams::new(names)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server
        .distinguished_name
        .push(DnType::CommonName, "Tidegate e2e git server");
    Ok(ServerCertificate {
        chain: server.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
        ca,
    })
}
