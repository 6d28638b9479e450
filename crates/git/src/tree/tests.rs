#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use super::*;
use crate::testing::{Client, Server};

/// A client that has fetched a commit of these entries.
async fn fetched(entries: &[(&str, EntryKind, &str)]) -> (Client, ObjectId) {
    let server = Server::new();
    let base = server.commit("main", &[("prod/shop/app.yaml", "a: 1\n")]);
    let commit = server.commit_entries("main", Some(base), entries);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    (client, commit)
}

async fn rejection(entry: (&str, EntryKind, &str), limits: TreeLimits) -> String {
    let (client, commit) = fetched(&[entry]).await;
    let error = client
        .repository
        .files_within(limits, commit, "prod")
        .await
        .unwrap_err();
    error.to_string()
}

#[tokio::test]
async fn only_yaml_under_the_path_is_read_in_order() {
    let (client, commit) = fetched(&[
        ("prod/shop/z.yml", EntryKind::Blob, "z"),
        ("prod/shop/deep/b.yaml", EntryKind::BlobExecutable, "b"),
        ("prod/shop/README.md", EntryKind::Blob, "no"),
        ("prod/shop/.github/workflow.yaml", EntryKind::Blob, "no"),
        ("prod/shopping/c.yaml", EntryKind::Blob, "no"),
        ("prod/shop/NOTES.md", EntryKind::Link, "../../docs/none.md"),
        (
            "prod/shop/LICENSE",
            EntryKind::Link,
            "/usr/share/common-licenses",
        ),
        ("staging/link.yaml", EntryKind::Link, "../prod"),
    ])
    .await;
    for path in ["prod/shop", "./prod/shop/", "prod//shop"] {
        let files = client.repository.files(commit, path).await.unwrap();
        let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "prod/shop/app.yaml",
                "prod/shop/deep/b.yaml",
                "prod/shop/z.yml"
            ]
        );
        assert_eq!(files[0].bytes, b"a: 1\n");
    }
    let one = client
        .repository
        .file_at(commit, "prod/shop/z.yml")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(one.bytes, b"z");
    for none in ["prod/shop", "prod/none.yaml", "prod/shop/z.yml/x"] {
        assert_eq!(client.repository.file_at(commit, none).await.unwrap(), None);
    }
}

#[tokio::test]
async fn anything_but_a_plain_file_is_rejected_with_its_path() {
    let limits = TreeLimits::default();
    let link = ("prod/folder", EntryKind::Link, "./shop");
    assert!(
        rejection(link, limits)
            .await
            .contains("`prod/folder` is a symbolic link")
    );
    let manifest = ("prod/link.yaml", EntryKind::Link, "shop/app.yaml");
    assert!(
        rejection(manifest, limits)
            .await
            .contains("`prod/link.yaml` is a symbolic link")
    );
    let folder = ("prod/link.d", EntryKind::Link, "./shop");
    assert!(
        rejection(folder, limits)
            .await
            .contains("`prod/link.d` is a symbolic link")
    );
    let submodule = ("prod/sub", EntryKind::Commit, "");
    assert!(
        rejection(submodule, limits)
            .await
            .contains("`prod/sub` is a submodule")
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    let lfs = ("prod/big.yaml", EntryKind::Blob, pointer);
    assert!(
        rejection(lfs, limits)
            .await
            .contains("`prod/big.yaml` is a Git LFS pointer")
    );
}

#[tokio::test]
async fn an_exceeded_limit_names_the_path() {
    let limits = TreeLimits::default();
    let big = ("prod/shop/big.yaml", EntryKind::Blob, "0123456789");
    let per_file = TreeLimits {
        file_bytes: 9,
        ..limits
    };
    assert!(
        rejection(big, per_file)
            .await
            .contains("`prod/shop/big.yaml` is larger than the limit of 9 bytes")
    );
    let total = TreeLimits {
        total_bytes: 12,
        ..limits
    };
    assert!(
        rejection(big, total)
            .await
            .contains("exceed the limit of 12 bytes")
    );
    let files = TreeLimits { files: 1, ..limits };
    assert!(rejection(big, files).await.contains("more than 1 files"));
    let entries = TreeLimits {
        entries: 2,
        ..limits
    };
    assert!(rejection(big, entries).await.contains("more than 2 files"));
}

#[tokio::test]
async fn paths_stay_inside_and_lead_to_a_folder() {
    let (client, commit) = fetched(&[("link", EntryKind::Link, "prod")]).await;
    for path in ["../x", "prod/../..", "/etc", "a\\b"] {
        let error = client.repository.files(commit, path).await.unwrap_err();
        assert!(matches!(error, TreeError::Outside { .. }), "{path}");
        assert!(client.repository.file_at(commit, path).await.is_err());
    }
    let read = |path| client.repository.files(commit, path);
    assert!(matches!(
        read("none").await,
        Err(TreeError::NoFolder { .. })
    ));
    assert!(matches!(
        read("prod/shop/app.yaml").await,
        Err(TreeError::NotAFolder { .. })
    ));
    assert!(matches!(
        read("link/shop").await,
        Err(TreeError::Symlink { .. })
    ));
    assert!(matches!(read("").await, Err(TreeError::Symlink { .. })));
}
