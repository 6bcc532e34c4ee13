//! Links to the AWS Management Console.

/// The page of an execution in the Step Functions console; `None` if `arn` is not an execution's ARN.
///
/// The hosts are from the user guide, "Endpoints" of the console in each partition: China has its own domain, and
/// `GovCloud` has one for all of its regions.
#[must_use]
pub fn execution_url(arn: &str) -> Option<String> {
    let parts: Vec<_> = arn.splitn(8, ':').collect();
    let ["arn", partition, "states", region, _, "execution", _, _] = parts[..] else {
        return None;
    };
    let host = host(partition, region)?;
    Some(format!(
        "https://{host}/states/home?region={region}#/v2/executions/details/{arn}"
    ))
}

/// The logs of a function in the `CloudWatch` console; `None` if `arn` is not a function's ARN.
#[must_use]
pub fn logs_url(arn: &str) -> Option<String> {
    let parts: Vec<_> = arn.splitn(8, ':').collect();
    let ["arn", partition, "lambda", region, _, "function", name, ..] = parts[..] else {
        return None;
    };
    let host = host(partition, region)?;
    // The console decodes the fragment after `#` twice, and uses `$` for `%`.
    let group = format!("$252Faws$252Flambda$252F{name}");
    Some(format!(
        "https://{host}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}"
    ))
}

/// The console's host in a partition.
fn host(partition: &str, region: &str) -> Option<String> {
    match partition {
        "aws" => Some(format!("{region}.console.aws.amazon.com")),
        "aws-cn" => Some(format!("{region}.console.amazonaws.cn")),
        "aws-us-gov" => Some("console.amazonaws-us-gov.com".to_owned()),
        _ => None,
    }
}

/// An object in the S3 console, in the partition and region of an execution; `None` if that is not an execution's ARN.
#[must_use]
pub fn object_url(execution_arn: &str, bucket: &str, key: &str) -> Option<String> {
    let parts: Vec<_> = execution_arn.splitn(5, ':').collect();
    let ["arn", partition, "states", region, _] = parts[..] else {
        return None;
    };
    let host = host(partition, region)?;
    Some(format!(
        "https://{host}/s3/object/{bucket}?region={region}&prefix={key}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_leads_to_the_console_of_the_partition() {
        for (partition, region, host) in [
            ("aws", "eu-west-1", "eu-west-1.console.aws.amazon.com"),
            ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
            (
                "aws-us-gov",
                "us-gov-west-1",
                "console.amazonaws-us-gov.com",
            ),
        ] {
            let arn = format!(
                "arn:{partition}:states:{region}:123456789012:execution:surf-clip:a-0123456789ab"
            );
            let wanted =
                format!("https://{host}/states/home?region={region}#/v2/executions/details/{arn}");
            assert_eq!(execution_url(&arn), Some(wanted));
        }
    }

    #[test]
    fn logs_and_objects_have_links() {
        let function = "arn:aws:lambda:eu-west-1:123456789012:function:surf-trim:live";
        assert_eq!(
            logs_url(function).as_deref(),
            Some(
                "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1\
                 #logsV2:log-groups/log-group/$252Faws$252Flambda$252Fsurf-trim"
            )
        );
        let execution = "arn:aws:states:eu-west-1:123456789012:execution:surf-clip:a-0123456789ab";
        assert_eq!(
            object_url(execution, "clips", "clips/a/b/clip.mp4").as_deref(),
            Some(
                "https://eu-west-1.console.aws.amazon.com/s3/object/clips?region=eu-west-1\
                 &prefix=clips/a/b/clip.mp4"
            )
        );
        assert_eq!(logs_url(execution), None);
        assert_eq!(object_url(function, "clips", "key"), None);
    }

    #[test]
    fn what_is_no_execution_has_no_link() {
        for arn in [
            "",
            "a",
            "arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip",
            "arn:aws:s3:::execution:a:b",
        ] {
            assert_eq!(execution_url(arn), None, "{arn}");
        }
    }
}
