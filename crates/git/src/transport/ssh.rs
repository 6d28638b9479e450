//! SSH for one run of git: a key, the servers that are known, and nothing of the machine's or a user's configuration.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::secret::Secret;

/// Options of ssh. A key that is not known is refused, and so is every other way to log in.
const OPTIONS: &[&str] = &[
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "NumberOfPasswordPrompts=1",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "PermitLocalCommand=no",
    "ConnectTimeout=20",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=2",
];

/// Writes the files that ssh needs into the folder of a run; returns the command for `GIT_SSH_COMMAND`, which is read by
/// a shell.
pub(super) fn program(home: &Path, identity: &Secret, known_hosts: &str) -> io::Result<OsString> {
    let (key, known) = (home.join("identity"), home.join("known_hosts"));
    // Without a line break at its end the key is not read.
    write(&key, &format!("{}\n", identity.expose().trim_end()))?;
    write(&known, known_hosts)?;
    let mut command = OsString::from("ssh -F none");
    for option in OPTIONS {
        command.push(format!(" -o {option}"));
    }
    for (option, file) in [("IdentityFile", key), ("UserKnownHostsFile", known)] {
        command.push(format!(" -o {option}="));
        command.push(quoted(&file));
    }
    Ok(command)
}

/// Writes a file that ssh reads only if nobody else can.
fn write(file: &Path, content: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(content.as_bytes())
}

/// A path as one word for a shell, and for ssh, which splits it at blanks again.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    format!("'\"{}\"'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_in_no_argument_and_for_nobody_else_to_read() {
        let home = tempfile::tempdir().unwrap();
        let key = Secret::new("hunter2");
        let command = program(home.path(), &key, "h ssh-ed25519 AAAA\n").unwrap();
        let command = command.to_str().unwrap();
        assert!(!command.contains("hunter2"), "{command}");
        assert!(command.contains("StrictHostKeyChecking=yes"), "{command}");
        let file = home.path().join("identity");
        assert_eq!(fs::read_to_string(&file).unwrap(), "hunter2\n");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_with_a_blank_is_one_word() {
        let word = quoted(Path::new("/tmp/a b/it's"));
        assert_eq!(word, r#"'"/tmp/a b/it'\''s"'"#);
    }
}
