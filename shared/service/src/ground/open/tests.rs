use std::num::NonZeroU32;

use icepress_catalog::config::CatalogProperties;
use icepress_model::{BucketCount, CatalogName, WorkerId, ambient::Ambient};
use icepress_storage::AwsEnvironment;

use super::{Disk, Ground, open_all};
use crate::Settings;

#[tokio::test]
async fn a_catalog_deletes_where_the_settings_let_it_and_never_in_the_cloud() {
    let here = Settings::embedded(WorkerId::from("w"));
    let none = Settings {
        may_delete: false,
        ..here.clone()
    };
    let buckets = BucketCount(NonZeroU32::MIN);
    let cloud = Settings::cloud(WorkerId::from("w"), buckets, String::new());
    let name = CatalogName::from("h");
    let pairs = [("type", "hadoop"), ("warehouse", "s3://lake/warehouse")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let properties = CatalogProperties::of(name.clone(), pairs);
    for (disk, settings, may_delete) in [
        (Disk::Here, here, true),
        (Disk::Here, none, false),
        (Disk::None, cloud, false),
    ] {
        let ground = Ground::of(disk, &settings);
        let aws = AwsEnvironment::new();
        let open = open_all([&properties], &aws, ground, &Ambient::system()).await;
        let open = open.unwrap();
        assert_eq!(open.get(&name).unwrap().storage.may_delete(), may_delete);
    }
}
