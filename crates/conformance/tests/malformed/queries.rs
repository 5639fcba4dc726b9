//! Query strings of the portal, with a good token.

use http::Method;

use crate::world::{Expected, Row, World, portal, post};

#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn rows(world: &World) -> Vec<Row> {
    let token = world.tokens.access.as_bytes();
    let mut rows = Vec::new();
    let mut get = |target: String, expected| rows.push(portal(&Method::GET, &target, token, expected));

    for query in [
        "",
        "?",
        "?&&&",
        "?=",
        "?role_name",
        "?role_name=Role1",
        "?account_id=000000000001",
        "?role_name=&account_id=000000000001",
        "?role_name=Role1&account_id=",
        "?Role_Name=Role1&Account_Id=000000000001",
        "?roleName=Role1&accountId=000000000001",
        "?role_name[]=Role1&account_id[]=000000000001",
        "?role_name=Role1;account_id=000000000001",
        "?role_name=Role1%26account_id=000000000001",
        "?role_name=Role1&role_name=Role1&account_id=000000000001",
        "?role_name=Role1&role_name=&account_id=000000000001",
        "?role_name=Role1&account_id=000000000001&account_id=000000000002",
        "?role_name=Role1&account_id=000000000001&account%5Fid=000000000001",
        "?role_name=Role1&account_id=00000000001",
        "?role_name=Role1&account_id=0000000000001",
        "?role_name=Role1&account_id=00000000000x",
        "?role_name=Role1&account_id=-00000000001",
        "?role_name=Role1&account_id=+00000000001",
        "?role_name=Role1&account_id=%EF%BC%9100000000001",
        "?role_name=Role1&account_id=000000000001%00",
        "?role_name=Role1&account_id=000000000001%0d%0ax:%20y",
        "?role_name=Role1&account_id=%FF",
        "?role_name=Role1&account_id=%",
        "?role_name=Role1&account_id=%zz",
        "?role_name=Role1&account_id=%u0031",
        "?role_name=Role1&account_id=1e11",
        "?role_name=Role1&account_id=hunter2hunter2",
    ] {
        get(format!("/federation/credentials{query}"), Expected::BAD_PARAMETER);
    }
    // A name that no role can have is one that is not assigned, and nothing more is wrong.
    let long = "x".repeat(5000);
    for role in
        ["%FF", "%00", "%", "%zz", "a%20b", "Role1%00", "Role1/", "..%2FRole1", "%27%20or%201=1", &long]
    {
        let target = format!("/federation/credentials?role_name={role}&account_id=000000000001");
        get(target, Expected::Portal(403, "ForbiddenException"));
    }

    for list in ["/assignment/accounts?", "/assignment/roles?account_id=000000000001&"] {
        for query in [
            "max_result=0",
            "max_result=101",
            "max_result=-1",
            "max_result=+1",
            "max_result=%2B1",
            "max_result=1.0",
            "max_result=1e1",
            "max_result=0x1",
            "max_result=%EF%BC%91",
            "max_result=x",
            "max_result=%00",
            "max_result=%FF",
            "max_result=%",
            "max_result=1%20",
            "max_result=18446744073709551617",
            "max_result=1&max_result=2",
            "max_result=1&max_result=",
            "next_token=x",
            "next_token=0",
            "next_token=%FF",
            "next_token=%00",
            "next_token=hunter2hunter2",
            "next_token=a&next_token=b",
        ] {
            get(format!("{list}{query}"), Expected::BAD_PARAMETER);
        }
        for wrong in [
            world.page[1..].to_owned(),
            world.page[..world.page.len() - 1].to_owned(),
            format!("{}A", world.page),
            world.page.to_lowercase(),
            world.tokens.access.clone(),
            world.client.id.clone(),
            world.code.clone(),
            "x".repeat(20_000),
        ] {
            get(format!("{list}next_token={wrong}"), Expected::BAD_PARAMETER);
        }
    }
    for query in ["", "?account_id=", "?account_id=1", "?account_id=000000000001&account_id=000000000001"] {
        get(format!("/assignment/roles{query}"), Expected::BAD_PARAMETER);
    }
    let foreign = format!("/assignment/roles?account_id=000000000001&next_token={}", world.page);
    get(foreign, Expected::BAD_PARAMETER);

    for query in ["aws_iam", "x=y&aws_iam=t", "aws_iam=t&aws_iam=t", "aws_iam=T", "aws_iam=t&X-Amz-Date=x"] {
        let name = format!("/token?{query}");
        rows.push(post(name.clone(), &name, "{}", Expected::INVALID_REQUEST));
    }
    for query in ["aws_iam=t", "aws%5fiam=t"] {
        let name = format!("/token?{query}");
        rows.push(post(name.clone(), &name, "{}", Expected::NOT_SIGNED));
    }
    rows
}
