//! Pure. The value that a configuration file exports, as far as it can be told without running it: literals, names of
//! literals, sums and products. What is computed in another way is kept as such, and only its user makes a problem of it.

use std::collections::BTreeMap;

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    AssignmentTarget, BinaryOperator, Expression, ObjectPropertyKind, Program, PropertyKind,
    Statement, UnaryOperator,
};
use oxc_parser::Parser;
use oxc_span::{GetSpan as _, SourceType, Span};

use super::Note;

/// How deep values may be nested, names that stand for values included.
const MAX_DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `null` or `undefined`.
    Nothing,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
    /// What only a run could tell; as it is written when that is a name.
    Computed(String),
}

/// What a file exports.
#[derive(Debug)]
pub(super) struct Exported {
    pub(super) value: Node,
    pub(super) notes: Vec<Note>,
}

/// Reads a file: JSON, a literal, or a module that exports one, also through `rc`.
///
/// # Errors
/// What is wrong with the text, or why it is not known what it exports.
pub(super) fn exported(text: &str) -> Result<Exported, Vec<Note>> {
    let arena = Allocator::default();
    if text.trim_start().starts_with('{') {
        // As a program, the braces of JSON would be a block.
        let parsed = Parser::new(&arena, text, SourceType::cjs()).parse_expression();
        let literal = parsed.map_err(|found| wrong(text, &found))?;
        let value = Reader { text, names: BTreeMap::new() }.node(&literal, 0);
        return Ok(Exported { value, notes: Vec::new() });
    }
    let parsed = Parser::new(&arena, text, SourceType::unambiguous()).parse();
    if parsed.panicked || !parsed.diagnostics.is_empty() {
        return Err(wrong(text, &parsed.diagnostics));
    }
    Reader { text, names: BTreeMap::new() }.module(&parsed.program)
}

fn line(text: &str, offset: u32) -> u64 {
    let upto = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    text.as_bytes()[..upto].iter().filter(|byte| **byte == b'\n').count() as u64 + 1
}

fn wrong<'a>(
    text: &str,
    found: impl IntoIterator<Item = &'a oxc_diagnostics::OxcDiagnostic>,
) -> Vec<Note> {
    let mut notes: Vec<Note> = found
        .into_iter()
        .map(|one| Note {
            line: one.labels.first().map_or(0, |label| line(text, label.offset())),
            path: String::new(),
            text: format!("is not JavaScript or JSON: {}", one.message),
        })
        .collect();
    if notes.is_empty() {
        let text = "is not JavaScript or JSON".to_owned();
        notes.push(Note { line: 0, path: String::new(), text });
    }
    notes
}

struct Reader<'t, 'a> {
    text: &'t str,
    /// What the top level gives names to.
    names: BTreeMap<&'t str, &'a Expression<'a>>,
}

impl<'t, 'a> Reader<'t, 'a>
where
    'a: 't,
{
    fn note(&self, span: Span, text: impl Into<String>) -> Note {
        Note { line: line(self.text, span.start), path: String::new(), text: text.into() }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a parser's enum: what is not named is not known"
    )]
    fn module(mut self, program: &'a Program<'a>) -> Result<Exported, Vec<Note>> {
        let (mut found, mut notes, mut problems) = (None, Vec::new(), Vec::new());
        for statement in &program.body {
            match statement {
                Statement::VariableDeclaration(declared) => {
                    for one in &declared.declarations {
                        if let (Some(name), Some(value)) = (one.id.get_identifier_name(), &one.init)
                        {
                            self.names.insert(name.as_str(), value);
                        }
                    }
                }
                Statement::ExportDefaultDeclaration(exported) => {
                    found = exported.declaration.as_expression();
                }
                Statement::ExpressionStatement(statement) => match &statement.expression {
                    Expression::AssignmentExpression(set) if exports(&set.left, self.text) => {
                        found = Some(&set.right);
                    }
                    Expression::AssignmentExpression(set) => {
                        let text = "changes a value after it was written down; write it where the value is first given";
                        problems.push(self.note(set.span, text));
                    }
                    other => notes.push(self.note(other.span(), "is not run")),
                },
                Statement::ImportDeclaration(_)
                | Statement::EmptyStatement(_)
                | Statement::FunctionDeclaration(_) => {}
                other => notes.push(self.note(other.span(), "is not run")),
            }
        }
        while let Some(Expression::AssignmentExpression(set)) = found
            && exports(&set.left, self.text)
        {
            found = Some(&set.right);
        }
        let Some(mut value) = found else {
            let text =
                "exports nothing; it needs `module.exports = {…}`, or `rc(\"s3sync\", {…})` there";
            problems.push(Note { line: 0, path: String::new(), text: text.to_owned() });
            return Err(problems);
        };
        if let Some(defaults) = of_rc(value) {
            value = defaults;
            let text = "rc also reads .s3syncrc files, variables named s3sync_… and the command line (--fullsync.interval, \
                        --skip-fullsync); they are not looked at, so look what they set and put it into the documents";
            notes.push(self.note(value.span(), text));
        }
        if problems.is_empty() {
            Ok(Exported { value: self.node(value, 0), notes })
        } else {
            Err(problems)
        }
    }

    fn node(&self, expression: &Expression<'_>, depth: usize) -> Node {
        let span = expression.span();
        let value = if depth < MAX_DEPTH { self.value(expression, depth) } else { None };
        // Names alone: a literal among what is computed may be a secret.
        let named =
            matches!(expression, Expression::Identifier(_) | Expression::StaticMemberExpression(_));
        let written = || {
            let text = self.text.get(span.start as usize..span.end as usize).unwrap_or_default();
            if named { text.chars().take(60).collect() } else { String::new() }
        };
        Node {
            line: line(self.text, span.start),
            value: value.unwrap_or_else(|| Value::Computed(written())),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a parser's enum: what is not named is not known"
    )]
    fn value(&self, expression: &Expression<'_>, depth: usize) -> Option<Value> {
        let inner = |expression: &Expression<'_>| self.node(expression, depth + 1).value;
        Some(match expression {
            Expression::BooleanLiteral(literal) => Value::Bool(literal.value),
            Expression::NullLiteral(_) => Value::Nothing,
            Expression::NumericLiteral(literal) => Value::Number(literal.value),
            Expression::StringLiteral(literal) => Value::Text(literal.value.to_string()),
            Expression::TemplateLiteral(literal) => {
                Value::Text(literal.single_quasi()?.to_string())
            }
            Expression::Identifier(name) if name.name == "undefined" => Value::Nothing,
            Expression::Identifier(name) => inner(self.names.get(name.name.as_str())?),
            Expression::ParenthesizedExpression(one) => inner(&one.expression),
            Expression::UnaryExpression(one) => match (one.operator, inner(&one.argument)) {
                (UnaryOperator::UnaryNegation, Value::Number(number)) => Value::Number(-number),
                (UnaryOperator::LogicalNot, Value::Bool(flag)) => Value::Bool(!flag),
                _ => return None,
            },
            Expression::BinaryExpression(two) => {
                computed(two.operator, inner(&two.left), inner(&two.right))?
            }
            Expression::ArrayExpression(array) => {
                let elements = array.elements.iter().map(|element| {
                    element.as_expression().map(|element| self.node(element, depth + 1))
                });
                Value::List(elements.collect::<Option<_>>()?)
            }
            Expression::ObjectExpression(object) => {
                let mut fields: Vec<(String, Node)> = Vec::new();
                for property in &object.properties {
                    let ObjectPropertyKind::ObjectProperty(property) = property else {
                        return None;
                    };
                    if property.kind != PropertyKind::Init {
                        return None;
                    }
                    let name = property.key.static_name()?.into_owned();
                    let node = self.node(&property.value, depth + 1);
                    // As JavaScript has it: the last one counts.
                    fields.retain(|(other, _)| *other != name);
                    fields.push((name, node));
                }
                Value::Object(fields)
            }
            _ => return None,
        })
    }
}

/// Sums of texts, and the arithmetic people write times in.
fn computed(operator: BinaryOperator, left: Value, right: Value) -> Option<Value> {
    match (operator, left, right) {
        (BinaryOperator::Addition, Value::Text(left), Value::Text(right)) => {
            Some(Value::Text(left + &right))
        }
        (BinaryOperator::Addition, Value::Number(left), Value::Number(right)) => {
            Some(Value::Number(left + right))
        }
        (BinaryOperator::Subtraction, Value::Number(left), Value::Number(right)) => {
            Some(Value::Number(left - right))
        }
        (BinaryOperator::Multiplication, Value::Number(left), Value::Number(right)) => {
            Some(Value::Number(left * right))
        }
        (BinaryOperator::Division, Value::Number(left), Value::Number(right)) => {
            Some(Value::Number(left / right))
        }
        _ => None,
    }
}

/// Whether this is where a module puts what it exports.
fn exports(target: &AssignmentTarget<'_>, text: &str) -> bool {
    let span = target.span();
    let written = text.get(span.start as usize..span.end as usize).unwrap_or_default();
    let written: String = written.split_whitespace().collect();
    written == "module.exports" || written == "exports"
}

/// The defaults in a call of `rc("s3sync", defaults)`.
fn of_rc<'a>(value: &'a Expression<'a>) -> Option<&'a Expression<'a>> {
    let Expression::CallExpression(call) = value else { return None };
    let by_name = matches!(&call.callee, Expression::Identifier(name) if name.name == "rc");
    let by_path = matches!(&call.callee, Expression::CallExpression(inner)
        if matches!(&inner.callee, Expression::Identifier(name) if name.name == "require"));
    if !(by_name || by_path) {
        return None;
    }
    call.arguments.get(1)?.as_expression()
}
