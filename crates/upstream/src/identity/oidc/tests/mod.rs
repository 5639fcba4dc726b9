mod flow;
mod outages;
mod people;
mod provider;
mod tokens;
