//! A certificate authority for one test, and a broker's certificate by it.

use std::path::Path;
use std::process::{Command, Stdio};

/// The authority's certificate, which clients trust.
pub(crate) const CA: &str = "ca.pem";
/// The broker's certificate.
pub(crate) const CERT: &str = "broker.pem";
/// The broker's key.
pub(crate) const KEY: &str = "broker.key";

/// Makes both in `folder`; the broker is known by this address.
pub(crate) fn make(folder: &Path, address: &str) {
    std::fs::write(folder.join("san.ext"), format!("subjectAltName = IP:{address}\n")).unwrap();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let openssl = |args: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(args).current_dir(folder).stdin(Stdio::null());
        let ended = openssl.output().expect("openssl was found just before");
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    let mut ca = vec!["req", "-x509", "-days", "2", "-subj", "/CN=authority of a test"];
    ca.extend(curve);
    ca.extend(["-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca.key", "-out", CA]);
    openssl(&ca);
    let mut request = vec!["req", "-new", "-subj", "/CN=broker of a test"];
    request.extend(curve);
    request.extend(["-keyout", KEY, "-out", "broker.csr"]);
    openssl(&request);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "broker.csr",
        "-days",
        "2",
        "-CA",
        CA,
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "san.ext",
        "-out",
        CERT,
    ]);
}
