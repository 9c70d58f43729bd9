//! A configuration with all its defaults, as TOML.

use toml::{Table, Value};

use super::Plan;
use super::connection::ConnectionPlan;

/// The whole of a plan as a configuration that means the same.
///
/// # Errors
/// A number that TOML cannot hold.
pub(crate) fn print(plan: &Plan) -> Result<String, toml::ser::Error> {
    let mut document = Table::new();
    let runtime = plan.runtime.unwrap_or_default();
    document.insert("runtime".to_owned(), Value::try_from(runtime)?);
    document.insert("admission".to_owned(), Value::try_from(plan.admission)?);
    if plan.letters.store.is_some() {
        document.insert("letters".to_owned(), Value::try_from(&plan.letters)?);
    }
    let connections = plan.connections.iter().map(connection);
    let connections = connections.collect::<Result<_, _>>()?;
    document.insert("connection".to_owned(), Value::Array(connections));
    toml::to_string(&document)
}

fn connection(plan: &ConnectionPlan) -> Result<Value, toml::ser::Error> {
    let mut table = Table::try_from(&plan.settings)?;
    table.remove("processor");
    let mut put = |key: &str, value: Value| table.insert(key.to_owned(), value);
    put("name", Value::try_from(&plan.name)?);
    put("url", one_or_several(&plan.urls)?);
    put("headers", Value::try_from(&plan.headers)?);
    put("subprotocols", Value::try_from(&plan.subprotocols)?);
    put(
        "subprotocol_required",
        Value::Boolean(plan.subprotocol_required),
    );
    put("ready", Value::try_from(&plan.ready)?);
    put("tls", Value::try_from(&plan.tls.keys)?);
    if let Some(processor) = &plan.processor {
        put("processor", Value::try_from(processor)?);
    }
    if let Some(resume) = &plan.resume {
        put("resume", Value::try_from(resume)?);
    }
    if let Some(Value::Table(decode)) = table.get_mut("decode") {
        decode.insert("format".to_owned(), Value::try_from(plan.format)?);
    }
    if let Some(Value::Table(outbound)) = table.get_mut("outbound") {
        if let Some(coalesce) = &plan.coalesce {
            outbound.insert("coalesce".to_owned(), Value::try_from(coalesce)?);
        }
        if let Some(acknowledge) = &plan.acknowledge {
            outbound.insert("acknowledge".to_owned(), Value::try_from(acknowledge)?);
        }
    }
    Ok(Value::Table(table))
}

fn one_or_several(urls: &[String]) -> Result<Value, toml::ser::Error> {
    match urls {
        [url] => Value::try_from(url),
        urls => Value::try_from(urls),
    }
}
