//! The AWS services that several functions call: the SDK's configuration, objects in S3 and the topic.

pub mod announcements;
pub mod s3_error;
pub mod sdk;
pub mod source;
pub mod upload;
pub mod waiting;
