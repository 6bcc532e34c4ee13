//! AWS services that several functions use: the SDK configuration, objects in S3 and the topic.

pub mod announcements;
pub mod s3_error;
pub mod sdk;
pub mod source;
pub mod upload;
pub mod waiting;
