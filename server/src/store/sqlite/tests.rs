//! Tests of this implementation alone.
