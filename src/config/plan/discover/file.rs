//! Endpoints by the lines of a file.

use super::{
    super::{super::data::WatchedFileConfig, client::limit, place::SettingPlace},
    build_over::BuildOver,
    inherited::InheritedStream,
};
use crate::{discover::WatchedFile, upstream::ClientBuilder};

pub(super) fn lines(
    config: &WatchedFileConfig,
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<BuildOver> {
    if config.path.as_os_str().is_empty() {
        at.refuse("missing field \"path\"");
        return None;
    }
    let path = at.resolve(&config.path);
    let (config, client) = (config.clone(), client.clone());
    Some(Box::new(move |builder, inherited| {
        let mut file = WatchedFile::new(&path).client(client.clone());
        if let Some(interval) = config.interval {
            file = file.interval(limit(interval));
        }
        if config.allow_empty {
            file = file.allow_empty();
        }
        builder.discover(InheritedStream::new(inherited, file))
    }))
}
