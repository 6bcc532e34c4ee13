//! Maps refusals by S3 to a step's errors.
//!
//! | S3 says | the step raises |
//! | --- | --- |
//! | `InvalidObjectState`: the source is archived | `SourceNotFound`, which says to restore it |
//! | 301, `PermanentRedirect`, `AuthorizationHeaderMalformed`, `IllegalLocationConstraintException`: the source's bucket is in another region | `InvalidRequest`, which says which one |
//! | `AccessDenied`, or 403 to a HEAD | `DependencyUnavailable`, which says what to grant to which role |
//! | `AccessDenied` that names an action of KMS | the same, for the key |
//! | `KMS.…`: the key is disabled, pending deletion or gone | `DependencyUnavailable`, which says to make it usable |
//!
//! Permissions are not part of a request, so a denial is a failure and not a rejection: once access is granted, a
//! redrive makes the clip.

use crate::sdk;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use model::error::ClipError;
use std::{env, error::Error};

/// Error codes for a bucket in a region other than the client's.
const ELSEWHERE: [&str; 3] = [
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
];

/// A call to S3.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// For example `reading`.
    pub doing: &'a str,
    /// The permission that the role needs for it, for example `s3:GetObject`.
    pub action: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The object; empty for a call about the bucket.
    pub key: &'a str,
}

impl Call<'_> {
    fn uri(&self) -> String {
        match self.key {
            "" => format!("s3://{}", self.bucket),
            key => format!("s3://{}/{key}", self.bucket),
        }
    }

    /// The step's error for this failed call: `DependencyUnavailable` if access was denied, otherwise as
    /// [`sdk::failure`] says.
    pub fn failure<E: ProvideErrorMetadata + Error + 'static>(
        &self,
        error: &SdkError<E, HttpResponse>,
    ) -> ClipError {
        let doing = format!("{} {}", self.doing, self.uri());
        let failure = sdk::failure(&doing, error);
        let code = code(error).unwrap_or_default();
        let response = error.raw_response();
        let is_forbidden = response.is_some_and(|r| r.status().as_u16() == 403);
        let remedy = if code.starts_with("KMS.") {
            "its KMS key cannot be used: enable it, or cancel its deletion".to_owned()
        } else if code == "AccessDenied" || is_forbidden && ["", "Forbidden"].contains(&code) {
            self.grant(message(error).unwrap_or_default())
        } else {
            return failure;
        };
        ClipError::dependency_unavailable(format!("{}; {remedy}", failure.message))
    }

    /// The rejection that this failed read of a source implies, if any; `field` is where the request names the source.
    pub fn rejection<E: ProvideErrorMetadata + Error + 'static>(
        &self,
        field: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> Option<ClipError> {
        let code = code(error).unwrap_or_default();
        let response = error.raw_response();
        if code == "InvalidObjectState" {
            return Some(ClipError::source_not_found(format!(
                "{field}.key: {} is archived; restore it (s3:RestoreObject) or copy it to a storage class that can be \
                 read at once, then send another request: the same one starts nothing twice",
                self.uri()
            )));
        }
        if !ELSEWHERE.contains(&code) && response.is_none_or(|r| r.status().as_u16() != 301) {
            return None;
        }
        let region = response.and_then(|response| response.headers().get("x-amz-bucket-region"));
        let place = region.map_or_else(
            || "another region than this deployment".to_owned(),
            |region| format!("{region}, and this deployment is not"),
        );
        Some(ClipError::invalid_request(format!(
            "{field}.bucket: {} is in {place}; send the request to a deployment there, or copy the source",
            self.bucket
        )))
    }

    /// What to grant, according to S3's message, which says who was denied what only within one account.
    fn grant(&self, message: &str) -> String {
        let action = after(message, "perform: ").unwrap_or(self.action);
        let role = after(message, "assumed-role/").and_then(|rest| rest.split('/').next());
        let role = role.map_or_else(own_role, |role| format!("role {role}"));
        if action.starts_with("kms:") {
            let key = after(message, "resource: ").unwrap_or("the key that encrypts it");
            return format!(
                "grant {role} {action} on {key}, in its own policy (source_kms_key_arns) and in the key's"
            );
        }
        format!(
            "grant {role} {action} on {}, in its own policy (source_buckets) and, for another account's bucket, in the \
             bucket's",
            self.uri()
        )
    }
}

/// The word that follows `mark`.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    rest.split_whitespace().next()
}

/// The name that Terraform gives to this function's role: the function and its region.
fn own_role() -> String {
    let variables = ["AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION"].map(env::var);
    match variables {
        [Ok(function), Ok(region)] => format!("role {function}-{region}"),
        _ => "the caller".to_owned(),
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error()?.code()
}

fn message<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error()?.message()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::{Client, primitives::SdkBody};
    use aws_smithy_mocks::{mock, mock_client};
    use model::ErrorKind;

    const CALL: Call<'static> = Call {
        doing: "reading",
        action: "s3:GetObject",
        bucket: "archive",
        key: "k.mp4",
    };

    /// The error of reading a source when S3 gives this answer.
    async fn refused(status: u16, body: String, region: Option<&'static str>) -> ClipError {
        let rule = mock!(Client::get_object).then_http_response(move || {
            let body = SdkBody::from(body.clone());
            let mut response = HttpResponse::new(status.try_into().expect("a status"), body);
            if let Some(region) = region {
                response.headers_mut().insert("x-amz-bucket-region", region);
            }
            response
        });
        let client = mock_client!(aws_sdk_s3, [&rule]);
        let sent = client.get_object().bucket("archive").key("k.mp4").send();
        let error = sent.await.expect_err("it is refused");
        let rejection = CALL.rejection("source", &error);
        rejection.unwrap_or_else(|| CALL.failure(&error))
    }

    fn xml(code: &str, message: &str) -> String {
        format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>")
    }

    #[tokio::test]
    async fn archived_source_is_a_rejection_that_says_to_restore_it() {
        let body = xml("InvalidObjectState", "not valid for the storage class");
        let error = refused(403, body, None).await;
        assert_eq!(error.kind, ErrorKind::SourceNotFound);
        let start = "source.key: s3://archive/k.mp4 is archived; restore it";
        assert!(error.message.starts_with(start), "{error}");
    }

    #[tokio::test]
    async fn bucket_of_another_region_is_a_rejection_that_names_the_region() {
        for (status, code) in [
            (301, "PermanentRedirect"),
            (400, "AuthorizationHeaderMalformed"),
            (400, "IllegalLocationConstraintException"),
        ] {
            let error = refused(status, xml(code, "wrong"), Some("eu-west-1")).await;
            assert_eq!(error.kind, ErrorKind::InvalidRequest, "{code}");
            let start = "source.bucket: archive is in eu-west-1, and this deployment is not";
            assert!(error.message.starts_with(start), "{error}");
        }
        let error = refused(301, String::new(), None).await;
        assert!(error.message.contains("in another region"), "{error}");
    }

    #[tokio::test]
    async fn denied_read_can_be_redriven_and_names_role_action_and_object() {
        let denied = "User: arn:aws:sts::111122223333:assumed-role/surf-probe-eu-west-1/surf-probe is not authorized \
             to perform: s3:GetObject on resource: \"arn:aws:s3:::archive/k.mp4\" because no policy allows it";
        let error = refused(403, xml("AccessDenied", denied), None).await;
        assert_eq!(error.kind, ErrorKind::DependencyUnavailable);
        let grant =
            "grant role surf-probe-eu-west-1 s3:GetObject on s3://archive/k.mp4, in its own policy";
        assert!(error.message.contains(grant), "{error}");
    }

    #[tokio::test]
    async fn denial_by_another_account_s_bucket_names_no_caller_and_still_says_what_to_grant() {
        for body in [xml("AccessDenied", "Access Denied"), String::new()] {
            let error = refused(403, body, None).await;
            assert_eq!(error.kind, ErrorKind::DependencyUnavailable);
            let grant = "grant the caller s3:GetObject on s3://archive/k.mp4";
            assert!(error.message.contains(grant), "{error}");
        }
    }

    #[tokio::test]
    async fn denied_key_is_named_where_kms_says_which() {
        let user = "User: arn:aws:sts::111122223333:assumed-role/surf-trim-eu-west-1/surf-trim is not authorized";
        for (on, key) in [
            (
                "resource: arn:aws:kms:r:1:key/k because",
                "arn:aws:kms:r:1:key/k",
            ),
            ("this resource because", "the key that encrypts it"),
        ] {
            let message = format!("{user} to perform: kms:Decrypt on {on} no policy allows it");
            let error = refused(403, xml("AccessDenied", &message), None).await;
            assert_eq!(error.kind, ErrorKind::DependencyUnavailable);
            let grant = format!("grant role surf-trim-eu-west-1 kms:Decrypt on {key}, ");
            assert!(error.message.contains(&grant), "{error}");
        }
    }

    #[tokio::test]
    async fn key_that_cannot_be_used_can_be_redriven() {
        for code in ["KMS.DisabledException", "KMS.KMSInvalidStateException"] {
            let error = refused(400, xml(code, "arn:k is disabled."), None).await;
            assert_eq!(error.kind, ErrorKind::DependencyUnavailable);
            assert!(error.message.ends_with("cancel its deletion"), "{error}");
        }
    }

    #[tokio::test]
    async fn other_refusals_are_bugs() {
        for code in ["SignatureDoesNotMatch", "InvalidAccessKeyId"] {
            let error = refused(403, xml(code, "no"), None).await;
            assert_eq!(error.kind, ErrorKind::Internal, "{code}");
        }
    }
}
