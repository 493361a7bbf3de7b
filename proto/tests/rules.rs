//! Rules of the .proto files, and their surface as a list that a change has to touch.

use std::collections::HashMap;
use std::fmt::Write as _;

use expect_test::expect_file;
use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};
use s3sync_proto::pb;

/// Our own files, without Google's.
fn files() -> Vec<FileDescriptorProto> {
    let all = FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap().file;
    let ours: Vec<_> =
        all.into_iter().filter(|file| file.package().starts_with("s3sync.")).collect();
    // Each file that is there is compiled, so each is held to the rules.
    let written: usize = ["v1", "agent/v1"]
        .iter()
        .map(|folder| {
            let path = format!("{}/s3sync/{folder}", env!("CARGO_MANIFEST_DIR"));
            let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.extension().is_some_and(|end| end == "proto")).count()
        })
        .sum();
    assert_eq!(ours.len(), written);
    ours
}

/// One thing that has a name: where it stands in its file, and whether it has a comment.
struct Item {
    kind: &'static str,
    name: String,
    commented: bool,
}

/// Everything in a file that has a name.
struct Walk {
    comments: HashMap<Vec<i32>, bool>,
    items: Vec<Item>,
}

impl Walk {
    fn of(file: &FileDescriptorProto) -> Vec<Item> {
        let info = file.source_code_info.as_ref().expect("descriptors carry comments");
        let comment = |text: &str| !text.trim().is_empty();
        let comments =
            info.location.iter().map(|l| (l.path.clone(), comment(l.leading_comments()))).collect();
        let mut walk = Self { comments, items: Vec::new() };
        for (index, message) in file.message_type.iter().enumerate() {
            walk.message(&[4, at(index)], message);
        }
        for (index, one) in file.enum_type.iter().enumerate() {
            walk.enumeration(&[5, at(index)], one);
        }
        for (index, service) in file.service.iter().enumerate() {
            let path = [6, at(index)];
            walk.add("service", service.name(), &path);
            for (index, rpc) in service.method.iter().enumerate() {
                walk.add("rpc", rpc.name(), &[&path[..], &[2, at(index)]].concat());
            }
        }
        walk.items
    }

    fn message(&mut self, path: &[i32], message: &DescriptorProto) {
        self.add("message", message.name(), path);
        for (index, field) in message.field.iter().enumerate() {
            self.add("field", field.name(), &[path, &[2, at(index)]].concat());
        }
        for (index, one) in message.enum_type.iter().enumerate() {
            self.enumeration(&[path, &[4, at(index)]].concat(), one);
        }
        for (index, nested) in message.nested_type.iter().enumerate() {
            // Entries of maps are made by the compiler.
            if !nested.options.as_ref().is_some_and(|options| options.map_entry()) {
                self.message(&[path, &[3, at(index)]].concat(), nested);
            }
        }
    }

    fn enumeration(&mut self, path: &[i32], one: &EnumDescriptorProto) {
        self.add("enum", one.name(), path);
        for (index, value) in one.value.iter().enumerate() {
            let kind = if value.number() == 0 { "zero value" } else { "value" };
            self.add(kind, value.name(), &[path, &[2, at(index)]].concat());
        }
    }

    fn add(&mut self, kind: &'static str, name: &str, path: &[i32]) {
        let commented = self.comments.get(path).copied().unwrap_or_default();
        self.items.push(Item { kind, name: name.to_owned(), commented });
    }
}

fn at(index: usize) -> i32 {
    i32::try_from(index).unwrap()
}

#[test]
fn everything_has_a_comment() {
    for file in files() {
        let items = Walk::of(&file);
        assert!(items.len() > 10, "{} was not walked", file.name());
        let bare: Vec<_> =
            items.iter().filter(|item| !item.commented).map(|item| &item.name).collect();
        assert!(bare.is_empty(), "without a comment in {}: {bare:?}", file.name());
    }
}

#[test]
fn names_follow_the_rules() {
    for item in files().iter().flat_map(Walk::of) {
        let fits = match item.kind {
            "zero value" => item.name.ends_with("_UNSPECIFIED"),
            "service" => item.name.ends_with("Service"),
            // Generated clients have a method of that name themselves.
            "rpc" => item.name != "Connect",
            // Shadows the language's own type in generated code.
            "message" => item.name != "Result",
            _ => true,
        };
        assert!(fits, "{} {}", item.kind, item.name);
    }
}

#[test]
fn values_begin_with_the_name_of_their_enum() {
    fn check(one: &EnumDescriptorProto) {
        let mut prefix = String::new();
        for c in one.name().chars() {
            if c.is_ascii_uppercase() && !prefix.is_empty() {
                prefix.push('_');
            }
            prefix.push(c.to_ascii_uppercase());
        }
        for value in &one.value {
            assert!(value.name().starts_with(&format!("{prefix}_")), "{}", value.name());
        }
    }
    for file in files() {
        file.enum_type.iter().for_each(check);
        file.message_type.iter().flat_map(|message| &message.enum_type).for_each(check);
    }
}

/// The whole surface. A change of this list is a change of the contract: additions are fine, everything else breaks
/// somebody. `UPDATE_EXPECT=1 cargo test -p s3sync-proto` writes it anew.
#[test]
fn the_surface_is_as_listed() {
    let mut text = String::new();
    for file in files() {
        surface(&file, &mut text);
    }
    expect_file!["wire.txt"].assert_eq(&text);
}

fn surface(file: &FileDescriptorProto, out: &mut String) {
    for service in &file.service {
        for rpc in &service.method {
            let stream = |streams: bool| if streams { "stream " } else { "" };
            writeln!(
                out,
                "rpc {}.{}/{} {}{} -> {}{}",
                file.package(),
                service.name(),
                rpc.name(),
                stream(rpc.client_streaming()),
                rpc.input_type(),
                stream(rpc.server_streaming()),
                rpc.output_type()
            )
            .unwrap();
        }
    }
    for one in &file.enum_type {
        enumeration(&format!(".{}", file.package()), one, out);
    }
    for message in &file.message_type {
        let name = format!(".{}.{}", file.package(), message.name());
        writeln!(out, "message {name}").unwrap();
        for field in &message.field {
            writeln!(out, "  {}", self::field(message, field)).unwrap();
        }
        for one in &message.enum_type {
            enumeration(&name, one, out);
        }
    }
}

fn enumeration(scope: &str, one: &EnumDescriptorProto, out: &mut String) {
    writeln!(out, "enum {scope}.{}", one.name()).unwrap();
    for value in &one.value {
        writeln!(out, "  {} {}", value.number(), value.name()).unwrap();
    }
}

fn field(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        Label::Optional | Label::Required if field.proto3_optional() => "optional ",
        Label::Optional | Label::Required => "",
    };
    let kind = if field.type_name().is_empty() {
        field.r#type().as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase()
    } else {
        field.type_name().to_owned()
    };
    let oneof =
        match field.oneof_index.map(|index| &message.oneof_decl[usize::try_from(index).unwrap()]) {
            Some(oneof) if !field.proto3_optional() => format!(" of {}", oneof.name()),
            _ => String::new(),
        };
    format!("{} {label}{kind} {}{oneof}", field.number(), field.name())
}
