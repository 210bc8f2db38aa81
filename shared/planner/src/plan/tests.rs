//! Plans cover every file once, end at a fixed point, and get rid of deletes.

mod dangling;
mod fixed_point;
mod light;
mod repeats;
mod rules;
mod turns;
mod world;
