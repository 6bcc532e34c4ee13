//! Links to the AWS Management Console.

/// The page of an execution in the console of Step Functions; `None` when `arn` is no execution's ARN.
///
/// The hosts are those of the user guide, "Endpoints" of the console in each partition: China has a domain of its own,
/// and `GovCloud` one for all of its regions.
#[must_use]
pub fn execution_url(arn: &str) -> Option<String> {
    let parts: Vec<_> = arn.splitn(8, ':').collect();
    let ["arn", partition, "states", region, _, "execution", _, _] = parts[..] else {
        return None;
    };
    let host = match partition {
        "aws" => format!("{region}.console.aws.amazon.com"),
        "aws-cn" => format!("{region}.console.amazonaws.cn"),
        "aws-us-gov" => "console.amazonaws-us-gov.com".to_owned(),
        _ => return None,
    };
    Some(format!(
        "https://{host}/states/home?region={region}#/v2/executions/details/{arn}"
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
