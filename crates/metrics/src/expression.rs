//! Expressions of PromQL, as the parser has them.

use promql_parser::parser::Expr;

/// Returns the expressions that an expression is made of.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Aggregate(aggregate) => {
            let parameter = aggregate.param.iter().map(|parameter| &**parameter);
            parameter.chain([&*aggregate.expr]).collect()
        }
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Call(call) => call.args.args.iter().map(|argument| &**argument).collect(),
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::Extension(_) => Vec::new(),
    }
}
