//! What preflight says before anything moves: each refusal is a sentence, and nothing has moved.
