//! The git server's certificate, issued by an authority made for it.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

pub(super) struct ServerCertificate {
    pub(super) ca_pem: String,
    pub(super) chain_pem: String,
    pub(super) key_pem: String,
}

/// A certificate for this address and the loopback ones, by an authority whose key is forgotten.
pub(super) fn issue(address: IpAddr) -> Result<ServerCertificate, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name
        .push(DnType::CommonName, "Tidegate e2e git CA");
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);

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
        chain_pem: server.signed_by(&key, &issuer)?.pem(),
        key_pem: key.serialize_pem(),
        ca_pem,
    })
}
