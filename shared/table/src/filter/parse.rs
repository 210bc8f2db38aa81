//! Expressions as people write them, to what they say: comparisons of a column with values, `and`, `or`, `not`, parentheses.

/// What an expression says. Columns by name, values as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Always(bool),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    IsNull(String),
    IsNan(String),
    Less(String, String),
    AtMost(String, String),
    OneOf(String, Vec<String>),
    Begins(String, String),
}

/// Understands an expression. The error is a message for people.
pub(super) fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        place: 0,
        depth: 0,
    };
    let expression = parser.any()?;
    match parser.next() {
        None => Ok(expression),
        Some(token) => Err(format!("{} is one word too many", token.shown())),
    }
}

/// How deep parentheses and `not` may go.
const DEEPEST: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, a keyword, or a number.
    Word(String),
    /// A name in double quotes or backquotes.
    Name(String),
    /// A text in quotes.
    Text(String),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("'{word}'"),
            Self::Name(name) => format!("\"{name}\""),
            Self::Text(text) => format!("the text '{text}'"),
            Self::Sign(sign) => format!("'{sign}'"),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    const SIGNS: [&str; 11] = ["<=", ">=", "<>", "!=", "==", "=", "<", ">", "(", ")", ","];
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        if matches!(first, '\'' | '"' | '`') {
            let (quoted, after) = quoted(rest, first)?;
            tokens.push(match first {
                '\'' => Token::Text(quoted),
                _ => Token::Name(quoted),
            });
            rest = after;
            continue;
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
            continue;
        }
        let belongs = |letter: char| letter.is_alphanumeric() || "_.+-:".contains(letter);
        let end = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        if end == 0 {
            return Err(format!("'{first}' is not understood"));
        }
        let (word, after) = rest.split_at(end);
        tokens.push(Token::Word(word.to_owned()));
        rest = after;
    }
    Ok(tokens)
}

/// What stands in quotes, in which the quote itself is written twice, and what comes after.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut inner = String::new();
    let mut rest = &text[1..];
    loop {
        let Some(end) = rest.find(quote) else {
            return Err(format!("a {quote} is never closed"));
        };
        inner.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if !rest.starts_with(quote) {
            return Ok((inner, rest));
        }
        inner.push(quote);
        rest = &rest[1..];
    }
}

struct Parser {
    tokens: Vec<Token>,
    place: usize,
    depth: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.place).cloned();
        self.place += usize::from(token.is_some());
        token
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let token = self.tokens.get(self.place);
        let is_there =
            matches!(token, Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.place += usize::from(is_there);
        is_there
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let token = self.tokens.get(self.place);
        let is_there = matches!(token, Some(Token::Sign(sign)) if *sign == wanted);
        self.place += usize::from(is_there);
        is_there
    }

    fn must(&mut self, wanted: &str) -> Result<(), String> {
        match self.take_sign(wanted) || self.take_word(wanted) {
            true => Ok(()),
            false => Err(self.missing(&format!("'{wanted}'"))),
        }
    }

    fn missing(&self, what: &str) -> String {
        match self.tokens.get(self.place) {
            Some(token) => format!("{} stands where {what} should", token.shown()),
            None => format!("it ends where {what} should stand"),
        }
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut inner = vec![self.all()?];
        while self.take_word("or") {
            inner.push(self.all()?);
        }
        Ok(one_or(inner, Expression::Or))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut inner = vec![self.single()?];
        while self.take_word("and") {
            inner.push(self.single()?);
        }
        Ok(one_or(inner, Expression::And))
    }

    fn single(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        let expression = self.unnested();
        self.depth -= 1;
        expression
    }

    fn unnested(&mut self) -> Result<Expression, String> {
        if self.take_word("not") {
            return Ok(Expression::Not(Box::new(self.single()?)));
        }
        if self.take_sign("(") {
            let inner = self.any()?;
            self.must(")")?;
            return Ok(inner);
        }
        let name = match self.next() {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => {
                return Ok(Expression::Always(true));
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => {
                return Ok(Expression::Always(false));
            }
            Some(Token::Word(name) | Token::Name(name)) => name,
            found => {
                self.place -= usize::from(found.is_some());
                return Err(self.missing("a column"));
            }
        };
        self.comparison(name)
    }

    fn comparison(&mut self, name: String) -> Result<Expression, String> {
        let not = |inner| Expression::Not(Box::new(inner));
        if self.take_word("is") {
            let negated = self.take_word("not");
            let test = match self.next() {
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => {
                    Expression::IsNull(name)
                }
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("nan") => {
                    Expression::IsNan(name)
                }
                found => {
                    self.place -= usize::from(found.is_some());
                    return Err(self.missing("'null' or 'nan'"));
                }
            };
            return Ok(if negated { not(test) } else { test });
        }
        let negated = self.take_word("not");
        let named = if self.take_word("in") {
            self.must("(")?;
            let mut values = vec![self.value()?];
            while self.take_sign(",") {
                values.push(self.value()?);
            }
            self.must(")")?;
            Some(Expression::OneOf(name.clone(), values))
        } else if self.take_word("between") {
            let least = self.value()?;
            self.must("and")?;
            let most = self.value()?;
            Some(Expression::And(vec![
                not(Expression::Less(name.clone(), least)),
                Expression::AtMost(name.clone(), most),
                not(Expression::IsNull(name.clone())),
            ]))
        } else if self.take_word("like") {
            let pattern = self.value()?;
            let prefix = pattern
                .strip_suffix('%')
                .filter(|it| !it.contains(['%', '_']));
            let prefix = prefix.ok_or_else(|| {
                format!("'{pattern}' is not understood: after like, only a beginning and one % at the end is")
            })?;
            Some(Expression::Begins(name.clone(), prefix.to_owned()))
        } else {
            None
        };
        if let Some(test) = named {
            return Ok(if negated { not(test) } else { test });
        }
        if negated {
            return Err(self.missing("'in', 'between' or 'like'"));
        }
        let sign = match self.next() {
            Some(Token::Sign(sign)) if !["(", ")", ","].contains(&sign) => sign,
            found => {
                self.place -= usize::from(found.is_some());
                return Err(self.missing(&format!("a comparison of '{name}'")));
            }
        };
        let value = self.value()?;
        // What is not less than a value is at least that: and a value at all.
        let and_not_null = |inner| {
            let is_null = Expression::IsNull(name.clone());
            Expression::And(vec![not(inner), not(is_null)])
        };
        Ok(match sign {
            "<" => Expression::Less(name, value),
            "<=" => Expression::AtMost(name, value),
            ">" => and_not_null(Expression::AtMost(name.clone(), value)),
            ">=" => and_not_null(Expression::Less(name.clone(), value)),
            "=" | "==" => Expression::OneOf(name, vec![value]),
            _ => not(Expression::OneOf(name, vec![value])),
        })
    }

    /// A value as it was written: a number, a text in quotes, `true`, and what stands behind `date` or `timestamp`.
    fn value(&mut self) -> Result<String, String> {
        for word in ["date", "timestamp"] {
            let text = self.tokens.get(self.place + 1);
            if matches!(text, Some(Token::Text(_))) && self.take_word(word) {
                break;
            }
        }
        match self.next() {
            Some(Token::Word(value) | Token::Text(value)) => Ok(value),
            found => {
                self.place -= usize::from(found.is_some());
                Err(self.missing("a value"))
            }
        }
    }
}

fn one_or(mut inner: Vec<Expression>, many: impl Fn(Vec<Expression>) -> Expression) -> Expression {
    match inner.len() {
        1 => inner.remove(0),
        _ => many(inner),
    }
}
