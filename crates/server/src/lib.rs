//! Doorward: a self-hosted IAM Identity Center for anything that speaks the AWS APIs.
//!
//! The server and its command line. A request goes one way: routing table, operation, grant, store, wire.

pub mod ambient;
pub mod app;
mod audit;
mod backchannel;
pub mod brokers;
pub mod cli;
pub mod config;
pub mod dev;
mod directory_changes;
pub mod directory_file;
pub mod guesses;
pub mod http;
pub mod iam;
pub mod identity;
pub mod issuers;
pub mod keyfile;
pub mod limits;
mod oauth;
mod op;
pub mod setup;
pub mod signing;
pub mod site;
pub mod tokens;
mod web;
