//! Stores readings once, computes intervals and balances, serves metrics, sinks, API and page.
