//! The version and the schema that all forms in which commands print JSON have.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

/// Version of the forms in which commands print JSON.
pub const JSON_VERSION: u32 = 1;

/// Adds the version of the forms to an object, or to each object of a list.
pub fn versioned(value: &mut Value) {
    let objects = match value {
        Value::Array(list) => list.iter_mut().collect(),
        one => vec![one],
    };
    for fields in objects.into_iter().filter_map(Value::as_object_mut) {
        fields.insert("version".to_owned(), JSON_VERSION.into());
    }
}

/// Returns the schema of a form as it is printed, its version included.
pub fn schema<T: JsonSchema + ?Sized>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    let is_list = schema.get("type").is_some_and(|kind| kind == "array");
    let object = match is_list {
        true => schema.get_mut("items").and_then(Value::as_object_mut),
        false => schema.as_object_mut(),
    };
    if let Some(object) = object {
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        properties["version"] = json!({
            "description": "Version of the form.",
            "type": "integer",
            "const": JSON_VERSION,
        });
        let required = object.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut()
            && !required.iter().any(|name| name == "version")
        {
            required.push("version".into());
        }
    }
    schema
}
