//! Added tokens under the ids that their file gives them.
//!
//! `tokenizers` numbers an added token that the model's vocabulary lacks by the size of that vocabulary, whatever the file
//! says. Where the vocabulary has holes for them, as in files made from GGUF, every added token would get an id that the
//! model has never seen.

use std::collections::BTreeSet;

use serde_json::Value;
use tokenizers::Tokenizer;

/// Reads a tokenizer whose added tokens have the ids of the file.
///
/// # Errors
/// Bytes that are no tokenizer; an added token whose id is that of another token.
pub(super) fn read(bytes: &[u8]) -> Result<Tokenizer, String> {
    let unreadable = |error: tokenizers::Error| format!("is not a tokenizer that can be read: {error}");
    let tokenizer = Tokenizer::from_bytes(bytes).map_err(unreadable)?;
    let Ok(mut file) = serde_json::from_slice::<Value>(bytes) else { return Ok(tokenizer) };
    let added = added_tokens(&file);
    if misnumbered(&tokenizer, &added).is_none() {
        return Ok(tokenizer);
    }
    if let Some(vocab) = file.pointer_mut("/model/vocab").and_then(Value::as_object_mut) {
        let taken: BTreeSet<u64> = vocab.values().filter_map(Value::as_u64).collect();
        for (content, id) in
            added.iter().filter(|(content, _)| !vocab.contains_key(content)).collect::<Vec<_>>()
        {
            if taken.contains(&u64::from(*id)) {
                return Err(clash(content, *id));
            }
            vocab.insert(content.clone(), (*id).into());
        }
    }
    let text = serde_json::to_vec(&file).map_err(|error| error.to_string())?;
    let tokenizer = Tokenizer::from_bytes(text).map_err(unreadable)?;
    misnumbered(&tokenizer, &added).map_or(Ok(tokenizer), |(content, id)| Err(clash(content, id)))
}

fn clash(content: &str, id: u32) -> String {
    format!(
        "`added_tokens` gives {content:?} id {id}, and `model.vocab` something else; expected an id of its own for each \
         token"
    )
}

/// Content and id of each added token.
fn added_tokens(file: &Value) -> Vec<(String, u32)> {
    let tokens = file.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let entry = |token: &Value| {
        let id = u32::try_from(token.get("id")?.as_u64()?).ok()?;
        Some((token.get("content")?.as_str()?.to_owned(), id))
    };
    tokens.filter_map(entry).collect()
}

/// The first added token that is not read as its id, or whose id is read as another token.
fn misnumbered<'a>(tokenizer: &Tokenizer, added: &'a [(String, u32)]) -> Option<(&'a str, u32)> {
    let wrong = |(content, id): &&(String, u32)| {
        tokenizer.token_to_id(content) != Some(*id) || tokenizer.id_to_token(*id).as_ref() != Some(content)
    };
    added.iter().find(wrong).map(|(content, id)| (content.as_str(), *id))
}
