//! The interface over HTTP as an OpenAPI document, made of the handlers themselves.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as OpenApiDocument, Ref, RefOr, Response, ResponseBuilder};

use super::errors::PROBLEM;
use super::handlers::{inference, jobs, keys, models, operations};
use super::routes::ROUTES;

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

/// The document. Every request may be answered with one of the problems of [`crate::api::Code`];
/// those that need a principal say so.
pub fn description() -> OpenApiDocument {
    let mut description = Described::openapi();
    let components = description.components.get_or_insert_default();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.add_security_scheme("token", token);
    for (path, item) in &mut description.paths.paths {
        let methods = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        for (name, operation) in ["get", "post", "patch", "delete"].into_iter().zip(methods) {
            let Some(operation) = operation else { continue };
            let is_open = ROUTES.iter().any(|route| *route == (name, path, false));
            let responses = &mut operation.responses.responses;
            if is_open {
                operation.security = Some(Vec::new());
            } else {
                responses.entry("401".into()).or_insert_with(|| problem("no token, or none that is known"));
            }
            responses.entry("default".into()).or_insert_with(|| problem("any other error"));
        }
    }
    description
}

/// A response that is a problem.
fn problem(description: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content(PROBLEM, content).build().into()
}
