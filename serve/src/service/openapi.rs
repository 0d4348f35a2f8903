//! The interface over HTTP as an OpenAPI document, made of the handlers themselves.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::handlers::{inference, jobs, keys, models, operations};

#[derive(OpenApi)]
#[openapi(
    info(title = "fhec serve", description = "Runs compiled networks on encrypted images."),
    paths(
        models::list, models::get, models::interface,
        keys::list, keys::announce, keys::get, keys::append, keys::touch, keys::delete,
        jobs::submit, jobs::list, jobs::get, jobs::events, jobs::answer, jobs::receipt, jobs::delete,
        inference::server, inference::metadata, inference::ready, inference::infer,
        operations::live, operations::ready, operations::metrics, operations::description
    ),
    security(("token" = []))
)]
struct Described;

/// The document.
pub fn description() -> utoipa::openapi::OpenApi {
    let mut description = Described::openapi();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    description.components.get_or_insert_default().add_security_scheme("token", token);
    description
}
