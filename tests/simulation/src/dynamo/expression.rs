//! Expressions of DynamoDB: conditions, keys, updates and projections, as far as any adapter of ours uses them.
//!
//! Stricter than AWS where AWS depends on a list of reserved words: names must be placeholders, but for those of commit
//! locks, which none of AWS's words is. What is not understood is refused, never guessed.

use std::{cmp::Ordering, collections::BTreeSet};

use serde_json::{Map, Value};

use super::{Attribute, Item, compare, number_text, parse_number};

/// Names that may stand in an expression as they are.
const PLAIN_NAMES: [&str; 3] = ["entityId", "ownerId", "version"];

/// Why an expression can't be used: the text of a `ValidationException`.
pub(super) type Refused = String;

/// The placeholders of a request, and which of them were used.
#[derive(Debug)]
pub(super) struct Placeholders<'a> {
    names: Option<&'a Map<String, Value>>,
    values: Option<&'a Map<String, Value>>,
    used: BTreeSet<String>,
}

impl<'a> Placeholders<'a> {
    pub(super) fn of(request: &'a Value) -> Self {
        let object = |key: &str| request.get(key).and_then(Value::as_object);
        Self {
            names: object("ExpressionAttributeNames"),
            values: object("ExpressionAttributeValues"),
            used: BTreeSet::new(),
        }
    }

    fn name(&mut self, placeholder: &str) -> Result<String, Refused> {
        self.used.insert(placeholder.to_owned());
        let name = self.names.and_then(|names| names.get(placeholder));
        name.and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| format!("An expression attribute name used in the document path is not defined; attribute name: {placeholder}"))
    }

    fn value(&mut self, placeholder: &str) -> Result<Attribute, Refused> {
        self.used.insert(placeholder.to_owned());
        let value = self.values.and_then(|values| values.get(placeholder));
        value.cloned().ok_or_else(|| {
            format!("An expression attribute value used in expression is not defined; attribute value: {placeholder}")
        })
    }

    /// AWS refuses placeholders that nothing uses.
    pub(super) fn check_all_used(&self) -> Result<(), Refused> {
        for (kind, given) in [("Names", self.names), ("Values", self.values)] {
            for placeholder in given.into_iter().flat_map(Map::keys) {
                if !self.used.contains(placeholder) {
                    return Err(format!(
                        "Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{placeholder}}}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A condition, read.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Exists(String),
    Missing(String),
    BeginsWith(String, Attribute),
    Between(String, Attribute, Attribute),
    Compare(Operand, Comparison, Operand),
}

/// How two operands are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One side of a comparison.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Name(String),
    Value(Attribute),
}

impl Operand {
    fn of<'a>(&'a self, item: &'a Item) -> Option<&'a Attribute> {
        match self {
            Self::Name(name) => item.get(name),
            Self::Value(value) => Some(value),
        }
    }
}

impl Condition {
    /// Whether it holds for an item; one that is not there has no attributes.
    pub(super) fn holds(&self, item: &Item) -> bool {
        match self {
            Self::And(a, b) => a.holds(item) && b.holds(item),
            Self::Or(a, b) => a.holds(item) || b.holds(item),
            Self::Not(a) => !a.holds(item),
            Self::Exists(name) => item.contains_key(name),
            Self::Missing(name) => !item.contains_key(name),
            Self::BeginsWith(name, prefix) => {
                let text =
                    |value: &Attribute| value.get("S").and_then(Value::as_str).map(str::to_owned);
                match (item.get(name).and_then(text), text(prefix)) {
                    (Some(value), Some(prefix)) => value.starts_with(&prefix),
                    _ => false,
                }
            }
            Self::Between(name, low, high) => item.get(name).is_some_and(|value| {
                let at_least = matches!(
                    compare(value, low),
                    Some(Ordering::Greater | Ordering::Equal)
                );
                let at_most =
                    matches!(compare(value, high), Some(Ordering::Less | Ordering::Equal));
                at_least && at_most
            }),
            Self::Compare(left, comparison, right) => {
                let (Some(left), Some(right)) = (left.of(item), right.of(item)) else {
                    return *comparison == Comparison::Unequal;
                };
                let order = compare(left, right);
                match comparison {
                    Comparison::Equal => order == Some(Ordering::Equal),
                    Comparison::Unequal => order != Some(Ordering::Equal),
                    Comparison::Less => order == Some(Ordering::Less),
                    Comparison::LessOrEqual => {
                        matches!(order, Some(Ordering::Less | Ordering::Equal))
                    }
                    Comparison::Greater => order == Some(Ordering::Greater),
                    Comparison::GreaterOrEqual => {
                        matches!(order, Some(Ordering::Greater | Ordering::Equal))
                    }
                }
            }
        }
    }

    /// The value that a name must be equal to, where the condition says so at its top.
    pub(super) fn equal_to(&self, wanted: &str) -> Option<&Attribute> {
        match self {
            Self::And(a, b) => a.equal_to(wanted).or_else(|| b.equal_to(wanted)),
            Self::Compare(Operand::Name(name), Comparison::Equal, Operand::Value(value))
                if name == wanted =>
            {
                Some(value)
            }
            _ => None,
        }
    }
}

/// Reads a condition or key condition.
pub(super) fn condition(
    text: &str,
    placeholders: &mut Placeholders<'_>,
) -> Result<Condition, Refused> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        placeholders,
    };
    let condition = parser.or()?;
    parser.end(text)?;
    Ok(condition)
}

/// A change of an item, read.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Set(String, Operand),
    Sum(String, Operand, bool, Operand),
    Remove(String),
}

/// Reads an update expression: `SET` and `REMOVE` clauses.
pub(super) fn update(
    text: &str,
    placeholders: &mut Placeholders<'_>,
) -> Result<Vec<Action>, Refused> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        placeholders,
    };
    let mut actions = Vec::new();
    while let Some(clause) = parser.take() {
        match clause.to_ascii_uppercase().as_str() {
            "SET" => loop {
                let name = parser.name()?;
                parser.expect("=")?;
                let left = parser.operand()?;
                let sign = parser.peek().filter(|token| *token == "+" || *token == "-");
                match sign.map(|sign| sign == "+") {
                    None => actions.push(Action::Set(name, left)),
                    Some(plus) => {
                        parser.next += 1;
                        let right = parser.operand()?;
                        actions.push(Action::Sum(name, left, plus, right));
                    }
                }
                if !parser.skip(",") {
                    break;
                }
            },
            "REMOVE" => loop {
                let name = parser.name()?;
                actions.push(Action::Remove(name));
                if !parser.skip(",") {
                    break;
                }
            },
            other => {
                return Err(format!(
                    "Invalid UpdateExpression: '{other}' is not simulated"
                ));
            }
        }
    }
    Ok(actions)
}

/// Applies an update to an item.
pub(super) fn apply(actions: &[Action], item: &mut Item) -> Result<(), Refused> {
    let before = item.clone();
    let missing = || {
        "The provided expression refers to an attribute that does not exist in the item".to_owned()
    };
    for action in actions {
        match action {
            Action::Set(name, operand) => {
                let value = operand.of(&before).ok_or_else(missing)?.clone();
                item.insert(name.clone(), value);
            }
            Action::Sum(name, left, plus, right) => {
                let number = |operand: &Operand| {
                    let value = operand.of(&before).ok_or_else(missing)?;
                    parse_number(value).ok_or_else(|| {
                        "An operand in the update expression has an incorrect data type".to_owned()
                    })
                };
                let (left, right) = (number(left)?, number(right)?);
                let sum = if *plus { left + right } else { left - right };
                item.insert(name.clone(), number_text(sum));
            }
            Action::Remove(name) => {
                item.remove(name);
            }
        }
    }
    Ok(())
}

/// Reads a projection: names with commas between.
pub(super) fn projection(
    text: &str,
    placeholders: &mut Placeholders<'_>,
) -> Result<Vec<String>, Refused> {
    text.split(',')
        .map(|name| placeholders.name(name.trim()))
        .collect()
}

fn tokens(text: &str) -> Result<Vec<String>, Refused> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' => {}
            '(' | ')' | ',' | '=' | '+' | '-' => tokens.push(letter.to_string()),
            '<' | '>' => {
                let mut token = letter.to_string();
                if let Some(second) =
                    letters.next_if(|next| *next == '=' || (letter == '<' && *next == '>'))
                {
                    token.push(second);
                }
                tokens.push(token);
            }
            letter if letter.is_ascii_alphanumeric() || matches!(letter, '#' | ':' | '_') => {
                let mut token = letter.to_string();
                while let Some(more) =
                    letters.next_if(|next| next.is_ascii_alphanumeric() || *next == '_')
                {
                    token.push(more);
                }
                tokens.push(token);
            }
            other => {
                return Err(format!(
                    "Invalid expression: Syntax error; token: '{other}'"
                ));
            }
        }
    }
    Ok(tokens)
}

struct Parser<'a, 'b, 'c> {
    tokens: &'a [String],
    next: usize,
    placeholders: &'b mut Placeholders<'c>,
}

impl Parser<'_, '_, '_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.next).map(String::as_str)
    }

    fn take(&mut self) -> Option<String> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn skip(&mut self, wanted: &str) -> bool {
        let found = self
            .peek()
            .is_some_and(|token| token.eq_ignore_ascii_case(wanted));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Refused> {
        if self.skip(wanted) {
            return Ok(());
        }
        Err(format!(
            "Invalid expression: '{wanted}' expected, not {:?}",
            self.peek()
        ))
    }

    fn end(&self, text: &str) -> Result<(), Refused> {
        match self.peek() {
            None => Ok(()),
            Some(token) => Err(format!(
                "Invalid expression '{text}': '{token}' is too much"
            )),
        }
    }

    fn name(&mut self) -> Result<String, Refused> {
        match self.take() {
            Some(token) if token.starts_with('#') => self.placeholders.name(&token),
            Some(token) if PLAIN_NAMES.contains(&&*token) => Ok(token),
            other => Err(format!(
                "Invalid expression: a name's placeholder expected, not {other:?}"
            )),
        }
    }

    fn value(&mut self) -> Result<Attribute, Refused> {
        match self.take() {
            Some(token) if token.starts_with(':') => self.placeholders.value(&token),
            other => Err(format!(
                "Invalid expression: a value's placeholder expected, not {other:?}"
            )),
        }
    }

    fn operand(&mut self) -> Result<Operand, Refused> {
        match self.peek() {
            Some(token) if token.starts_with(':') => Ok(Operand::Value(self.value()?)),
            _ => Ok(Operand::Name(self.name()?)),
        }
    }

    fn or(&mut self) -> Result<Condition, Refused> {
        let mut left = self.and()?;
        while self.skip("OR") {
            left = Condition::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Condition, Refused> {
        let mut left = self.single()?;
        while self.skip("AND") {
            left = Condition::And(Box::new(left), Box::new(self.single()?));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Condition, Refused> {
        if self.skip("NOT") {
            return Ok(Condition::Not(Box::new(self.single()?)));
        }
        if self.skip("(") {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        for (function, make) in [
            (
                "attribute_exists",
                Condition::Exists as fn(String) -> Condition,
            ),
            ("attribute_not_exists", Condition::Missing),
        ] {
            if self.skip(function) {
                self.expect("(")?;
                let name = self.name()?;
                self.expect(")")?;
                return Ok(make(name));
            }
        }
        if self.skip("begins_with") {
            self.expect("(")?;
            let name = self.name()?;
            self.expect(",")?;
            let prefix = self.value()?;
            self.expect(")")?;
            return Ok(Condition::BeginsWith(name, prefix));
        }
        let left = self.operand()?;
        if self.skip("BETWEEN") {
            let Operand::Name(name) = left else {
                return Err("Invalid expression: BETWEEN of a value is not simulated".to_owned());
            };
            let low = self.value()?;
            self.expect("AND")?;
            return Ok(Condition::Between(name, low, self.value()?));
        }
        let comparison = match self.take().as_deref() {
            Some("=") => Comparison::Equal,
            Some("<>") => Comparison::Unequal,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::Greater,
            Some(">=") => Comparison::GreaterOrEqual,
            other => {
                return Err(format!(
                    "Invalid expression: a comparison expected, not {other:?}"
                ));
            }
        };
        let right = self.operand()?;
        Ok(Condition::Compare(left, comparison, right))
    }
}
