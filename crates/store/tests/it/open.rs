//! The list of backends.

use doorward_store::contract::fixtures::*;
use doorward_store::{Location, Opened, open};
use tempfile::TempDir;

#[tokio::test]
async fn every_location_opens_and_closes() {
    let dir = TempDir::new().unwrap();
    for location in [Location::Memory, Location::Embedded(dir.path().to_owned())] {
        let Opened { store, closer } = open(&location).unwrap();
        commit(&store, [start(1)]).await;
        assert_eq!(stored(&store, 1).await, session(1));
        closer.close().await.unwrap();
    }
    let Opened { store, closer } = open(&Location::Embedded(dir.path().to_owned())).unwrap();
    assert_eq!(stored(&store, 1).await, session(1));
    closer.close().await.unwrap();
}
