//! The messages of etcd that tests write, each with the fields that they need.

#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Revision {
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    #[prost(bytes, tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub lease: i64,
}

/// The answer to anything that changes the revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Written {
    #[prost(message, tag = "1")]
    pub header: Option<Revision>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRange {
    #[prost(bytes, tag = "1")]
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Compaction {
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseGrant {
    #[prost(int64, tag = "1")]
    pub ttl: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Lease {
    #[prost(int64, tag = "2")]
    pub id: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Authenticate {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub password: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AuthToken {
    #[prost(string, tag = "2")]
    pub token: String,
}

/// A user with a password, or a role without.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Add {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub password: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GrantRole {
    #[prost(string, tag = "1")]
    pub user: String,
    #[prost(string, tag = "2")]
    pub role: String,
}

/// The permission to read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Readable {
    #[prost(bytes, tag = "2")]
    pub key: Vec<u8>,
    #[prost(bytes, tag = "3")]
    pub end: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GrantPermission {
    #[prost(string, tag = "1")]
    pub role: String,
    #[prost(message, tag = "2")]
    pub permission: Option<Readable>,
}

/// A key of a list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pair {
    #[prost(bytes, tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes, tag = "5")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Page {
    #[prost(message, tag = "1")]
    pub header: Option<Revision>,
    #[prost(message, repeated, tag = "2")]
    pub keys: Vec<Pair>,
    #[prost(bool, tag = "3")]
    pub more: bool,
}

/// A message of a watch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Watched {
    #[prost(bool, tag = "3")]
    pub created: bool,
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    #[prost(string, tag = "6")]
    pub reason: String,
}
