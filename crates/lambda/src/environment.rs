//! Configuration from environment variables, with errors that name the variable.

use model::error::ClipError;
use std::str::FromStr;

/// The value of a variable that must be set.
///
/// # Errors
/// `Internal`, naming the variable, if it is absent or empty.
pub fn required(name: &str) -> Result<String, ClipError> {
    optional(name)
        .ok_or_else(|| ClipError::internal(format!("environment variable {name} is not set")))
}

/// The value of a variable that may be absent; empty counts as absent.
#[must_use]
pub fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of a variable that must be set, as a number or another type that is parsed from text.
///
/// # Errors
/// `Internal`, naming the variable and its value, if it is absent or not of that type.
pub fn parsed<T: FromStr>(name: &str) -> Result<T, ClipError> {
    let value = required(name)?;
    value.parse().map_err(|_| {
        let wanted = std::any::type_name::<T>();
        ClipError::internal(format!(
            "environment variable {name} is {value:?}, which is no {wanted}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_variable() {
        let error = required("CLIPFLOW_NO_SUCH_VARIABLE").expect_err("it is not set");
        assert!(error.message.contains("CLIPFLOW_NO_SUCH_VARIABLE"));
        let error = parsed::<u64>("PATH").expect_err("it is no number");
        assert!(
            error.message.starts_with("environment variable PATH is "),
            "{}",
            error.message
        );
    }
}
