use super::output::answer;
use crate::http::openapi_json;

pub(crate) fn run() {
    answer(openapi_json().trim_end());
}
