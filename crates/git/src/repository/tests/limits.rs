//! Repositories that are larger than they may be.

use std::fmt::Write as _;

use super::*;

/// Text that hardly gets smaller when it is packed.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 + seed;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let _ = write!(text, "{state:016x}");
    }
    text
}

async fn refused(repository: &Repository) -> QuotaError {
    match repository.fetch("main", None).await {
        Err(FetchError::Quota(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn taken(folder: &Path) -> u64 {
    disk::size_of(folder)
}

const MIB: u64 = 1024 * 1024;

fn small() -> Limits {
    Limits {
        clone_bytes: 2 * MIB,
        cache_bytes: 4 * MIB,
        object_bytes: MIB,
    }
}

#[tokio::test]
async fn a_repository_that_is_too_large_is_refused_with_the_figure_and_leaves_nothing_on_the_disk()
{
    let server = Server::new();
    for file in 0..8 {
        server.commit("main", &[(&format!("{file}.bin"), &noise(file, 900_000))]);
    }
    let client = server.client_within(small());
    let error = refused(&client.repository).await;
    assert!(matches!(error, QuotaError::Repository { .. }), "{error}");
    assert!(error.to_string().contains("2 MiB"), "{error}");
    assert_eq!(taken(client.cache.path()), 0);
    assert_eq!(client.repository.git.disk.left(), 4 * MIB);
}

#[tokio::test]
async fn a_repository_that_grows_too_large_keeps_its_clone_and_is_not_fetched_again_and_again() {
    let server = Server::new();
    let first = server.commit("main", &[("a.yaml", "1")]);
    let client = server.client_within(small());
    client.repository.fetch("main", None).await.unwrap();
    for file in 0..8 {
        server.commit("main", &[(&format!("{file}.bin"), &noise(file, 900_000))]);
    }
    refused(&client.repository).await;
    let file = client.repository.file_at(first, "a.yaml").await.unwrap();
    assert!(file.is_some(), "what was read can be read");
    assert!(taken(client.cache.path()) < MIB);
    // It is known, and the server is not asked for it.
    let asked = server.path().with_extension("moved");
    fs::rename(server.path(), &asked).unwrap();
    refused(&client.repository).await;
    fs::rename(&asked, server.path()).unwrap();
}

#[tokio::test]
async fn a_large_file_anywhere_in_the_history_is_named_and_never_read() {
    let server = Server::new();
    // It is small where it is packed: 32 MiB of zeros.
    server.commit("main", &[("big.bin", &"0".repeat(32 * 1024 * 1024))]);
    server.delete_file("main", "big.bin");
    server.commit("main", &[("a.yaml", "1")]);
    let client = server.client_within(small());
    let error = refused(&client.repository).await;
    let QuotaError::Object { size, id, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*size, 32 * MIB);
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    assert!(error.to_string().contains("32 MiB"), "{error}");

    let other = Server::new();
    other.commit("main", &[("a.yaml", "1")]);
    let client = other.client_within(small());
    client.repository.fetch("main", None).await.unwrap();
    other.commit("main", &[("big.bin", &"0".repeat(32 * 1024 * 1024))]);
    let error = refused(&client.repository).await;
    assert!(matches!(error, QuotaError::Object { .. }), "{error}");
    assert_eq!(taken(client.cache.path()), 0, "its clone is not read again");
}

#[tokio::test]
async fn a_folder_that_is_too_large_is_never_read() {
    let server = Server::new();
    let first = server.commit("main", &[("a.yaml", "1")]);
    let store = store::open(server.path()).unwrap();
    let blob = store.write_blob("1").unwrap().detach();
    let size = usize::try_from(NODE_BYTES).unwrap() / 200 + 10_000;
    let mut tree = gix::objs::Tree::empty();
    for entry in 0..size {
        tree.entries.push(gix::objs::tree::Entry {
            mode: gix::objs::tree::EntryKind::Blob.into(),
            filename: format!("{entry:0>200}").into(),
            oid: blob,
        });
    }
    let tree = store.write_object(tree).unwrap().detach();
    let ada = crate::testing::signature("Ada", 1);
    let commit = store::write_commit(&store, tree, Some(first), "Many\n", &ada, &ada).unwrap();
    server.set("main", commit);
    let client = server.client();
    let error = refused(&client.repository).await;
    assert!(
        matches!(&error, QuotaError::Object { kind, .. } if kind == "tree"),
        "{error}"
    );
}

#[tokio::test]
async fn one_repository_does_not_take_the_room_of_others() {
    let (one, other) = (Server::new(), Server::new());
    one.commit("main", &[("a.bin", &noise(1, 1_600_000))]);
    other.commit("main", &[("b.bin", &noise(7, 1_600_000))]);
    let client = one.client_within(Limits {
        cache_bytes: MIB + MIB / 2,
        object_bytes: 4 * MIB,
        ..small()
    });
    client.repository.fetch("main", None).await.unwrap();
    let remote = Remote::new(&other.url(), crate::remote::Credentials::Anonymous).unwrap();
    let second = client.repository.git.repository(remote);
    let error = refused(&second).await;
    assert!(matches!(error, QuotaError::Cache { .. }), "{error}");
    client.repository.fetch("main", None).await.unwrap();

    let git = client.repository.git.clone();
    drop(client.repository);
    git.remove_unused();
    let remote = second.remote().clone();
    drop(second);
    git.remove_unused();
    let second = git.repository(remote);
    second.fetch("main", None).await.unwrap();
}

#[tokio::test]
async fn what_an_earlier_process_has_left_is_found_again_or_deleted() {
    let (kept, gone) = (Server::new(), Server::new());
    let head = kept.commit("main", &[("a.yaml", "1")]);
    gone.commit("main", &[("a.yaml", "1")]);
    let client = kept.client();
    client.repository.fetch("main", None).await.unwrap();
    let remote = Remote::new(&gone.url(), crate::remote::Credentials::Anonymous).unwrap();
    let second = client.repository.git.repository(remote);
    second.fetch("main", None).await.unwrap();

    let transport = Transport::new(crate::testing::file_settings()).unwrap();
    let git = Arc::new(Git::new(transport, client.cache.path(), Limits::default()));
    let before = git.disk.left();
    let url = kept.url();
    git.remove_left_behind([url.as_str()]);
    assert!(!second.clone.dir.exists());
    assert!(client.repository.clone.dir.exists());
    assert!(git.disk.left() > before);
    let again = git.repository(client.repository.remote().clone());
    assert!(again.has("main", head).await, "it needs no fetch");
}

#[tokio::test]
async fn what_a_killed_fetch_has_left_is_deleted_by_the_next() {
    let server = Server::new();
    server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let partial = client.clone_dir().join("objects/pack/tmp_pack_x1");
    fs::write(&partial, "half of it").unwrap();
    client.repository.fetch("main", None).await.unwrap();
    assert!(!partial.exists());
}
