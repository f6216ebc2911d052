//! `/v1/search`: shadows by label, by tag and by what stands in them.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::version::Half;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Within;
use super::precondition::FieldJson;
use super::query::{Pairs, pair};
use super::shape::{ShadowJson, Wanted};
use super::{Api, ApiError, path, precondition};
use crate::clock;
use crate::domain::{Place, Search, ShadowView};

/// How many shadows a page has.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 200;

/// How many nodes and shadows one request looks at, and how many of them at a stretch, since
/// nothing is written meanwhile.
const EXAMINED: usize = 100_000;
const STRETCH: usize = 2000;

/// A page of what was found.
#[derive(Serialize, ToSchema)]
#[schema(as = SearchPage)]
pub(super) struct PageJson<'a> {
    shadows: Vec<ShadowJson<'a>>,
    /// What `after` has to be to go on; null: that was all. A page may be short, even empty, and
    /// yet not the last one: one request looks at no more than 100,000 shadows.
    next: Option<String>,
    /// How many nodes and shadows were looked at.
    examined: usize,
}

/// Finds shadows. All conditions must hold; without any, everything is found.
#[utoipa::path(get, path = "/v1/search", tag = "shadows",
    params(("label" = Option<Vec<String>>, Query,
            description = "`key=value`: a label of the node; may be repeated"),
        ("tag" = Option<Vec<String>>, Query,
            description = "`key=value`: a tag of the shadow; may be repeated"),
        ("where" = Option<Vec<String>>, Query,
            description = "A condition on a field, in JSON: `{\"pointer\": \"/price\", \
                \"at_most\": 1.75}`, see the schema FieldCondition; may be repeated"),
        ("half" = Option<String>, Query,
            description = "Where the fields stand: `desired` (the default) or `reported`"),
        ("limit" = Option<u64>, Query, description = "1 to 200; 100 if not given"),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = PageJson<'_>)))]
pub(super) async fn search(
    State(api): State<Api>,
    Within(within): Within,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let search = Search {
        within,
        labels: pairs
            .all("label")
            .iter()
            .map(|text| pair("label", text))
            .collect::<Result<_, _>>()?,
        tags: pairs.all("tag").iter().map(|text| pair("tag", text)).collect::<Result<_, _>>()?,
        fields: precondition::fields(
            pairs
                .all("where")
                .iter()
                .map(|text| FieldJson::parse(text))
                .collect::<Result<_, _>>()?,
        )?,
        half: pairs.half()?.unwrap_or(Half::Desired),
    };
    let limit = pairs.limit(PAGE, LARGEST_PAGE)?;
    let mut after = pairs.text("after")?.map(|text| place(&text)).transpose()?;
    pairs.end()?;

    let (mut views, mut examined): (Vec<ShadowView>, usize) = (Vec::new(), 0);
    loop {
        let (search, from, room) = (search.clone(), after.take(), limit - views.len());
        let look = move |domain: &crate::domain::Domain, _| {
            domain.search(&search, from.as_ref(), room, STRETCH)
        };
        let found = api.core.read(look).await?;
        examined += found.examined;
        views.extend(found.shadows);
        after = found.next;
        if after.is_none() || views.len() >= limit || examined >= EXAMINED {
            break;
        }
    }
    let wanted = Wanted::plain(clock::unix_ms());
    let shadows = views.iter().map(|view| ShadowJson::new(view, &wanted)).collect();
    let page = PageJson { shadows, next: after.map(|place| cursor(&place)), examined };
    Ok(Json(page).into_response())
}

fn cursor(place: &Place) -> String {
    match &place.key {
        Some(key) => format!("{}/{key}", place.node),
        None => place.node.to_string(),
    }
}

fn place(text: &str) -> Result<Place, ApiError> {
    let (node, key) = text.split_once('/').map_or((text, None), |(node, key)| (node, Some(key)));
    Ok(Place { node: path::node(node)?, key: key.map(path::shadow).transpose()? })
}
